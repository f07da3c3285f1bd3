"""Where the product and its provider are, and the clients that talk to them."""

import asyncio
import json
import os
import urllib.request

import nats
import openai
import pytest

PATIENCE = 30  # seconds that any wait may take


class Provider:
    """The provider that the product asks first."""

    def __init__(self, url):
        self.url = url

    def put(self, path, value=None):
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"{self.url}/admin/{path}", data=body, method="PUT")
        urllib.request.urlopen(request, timeout=PATIENCE).close()

    def fails_once(self, **fault):
        """Make the next call fail; later ones are served."""
        self.put("faults", [{**fault, "count": 1}])

    def down(self):
        self.put("down")

    def up(self):
        self.put("up")


@pytest.fixture
def provider():
    provider = Provider(os.environ["PROVIDER_URL"])
    yield provider
    provider.put("faults", [])
    provider.up()


@pytest.fixture(scope="session")
def url():
    return os.environ["UNDERSTUDY_URL"]


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def connection(anyio_backend):
    connection = await nats.connect(os.environ["NATS_URL"])
    yield connection
    await connection.close()


@pytest.fixture
def jetstream(connection):
    return connection.jetstream()


@pytest.fixture
def result_of(jetstream):
    """Waits for the recorded end of a request by watching its key."""

    async def wait(request_id):
        bucket = await jetstream.key_value("results")
        watcher = await bucket.watch(request_id)
        try:
            async with asyncio.timeout(PATIENCE):
                async for entry in watcher:
                    if entry is not None:
                        return json.loads(entry.value)
        finally:
            await watcher.stop()

    return wait
