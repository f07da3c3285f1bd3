"""The provider is down: what the rules know is answered, and says what it is."""

import asyncio
import json
import time
import uuid

import openai
import pytest
from conftest import PATIENCE

pytestmark = pytest.mark.anyio

KNOWN = [{"role": "user", "content": "How long does a refund take?"}]
UNKNOWN = [{"role": "user", "content": "one two three"}]


@pytest.fixture
async def outage(provider, client, jetstream):
    """An outage for the time of a test; it must be over afterwards."""
    provider.down()
    yield
    provider.up()
    await lanes_of_primary(jetstream)
    until = time.monotonic() + PATIENCE
    while worker_of(client) != "primary":
        assert time.monotonic() < until, "the provider is back, but nobody asks it"


async def lanes_of_primary(jetstream):
    """Waits until all numbered lanes belong to the primary again."""
    watcher = await (await jetstream.key_value("owners")).watch("chat.*")
    owners = {}
    try:
        async with asyncio.timeout(PATIENCE):
            async for entry in watcher:
                if entry is not None:
                    owners[entry.key] = json.loads(entry.value)["worker"]
                if all(owners.get(f"chat.{lane}") == "primary" for lane in range(10)):
                    return
    finally:
        await watcher.stop()


def worker_of(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=KNOWN)
    return raw.headers["understudy-worker"]


async def test_openai_client_is_answered_by_rules(client, outage):
    raw = client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=KNOWN)
    assert raw.headers["understudy-worker"] == "rules"
    assert raw.headers["understudy-degraded"] == "true"
    answer = raw.parse()
    assert "7 working days" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model_extra["understudy"]["degraded"] is True
    assert answer.model_extra["understudy"]["sources"]

    stream = client.chat.completions.create(model="gpt-5-mini", messages=KNOWN, stream=True)
    assert stream.response.headers["understudy-degraded"] == "true"
    heard = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    assert heard == answer.choices[0].message.content


async def test_question_that_no_rule_knows_is_an_honest_error(client, outage):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="brief", messages=UNKNOWN)
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_nats_client_is_answered_by_rules(jetstream, result_of, outage):
    request_id = uuid.uuid4().hex
    body = json.dumps({"messages": KNOWN}).encode()
    await jetstream.publish("llm.requests.chat", body, headers={"Llm-Request-Id": request_id})
    result = await result_of(request_id)
    assert (result["status"], result["worker"], result["degraded"]) == ("answered", "rules", True)
    assert "7 working days" in result["answer"]["choices"][0]["message"]["content"]


async def test_request_that_refuses_rules_waits_for_the_provider(
    provider, connection, jetstream, result_of, outage
):
    request_id = uuid.uuid4().hex
    parked = await connection.subscribe("llm.parked.chat")
    body = json.dumps({"messages": KNOWN}).encode()
    await jetstream.publish(
        "llm.requests.chat", body, headers={"Llm-Request-Id": request_id, "Llm-Degrade": "never"}
    )
    message = await parked.next_msg(timeout=PATIENCE)
    assert message.headers["Llm-Request-Id"] == request_id
    provider.up()
    result = await result_of(request_id)
    assert (result["status"], result["worker"]) == ("answered", "primary")
    assert not result.get("degraded", False)
