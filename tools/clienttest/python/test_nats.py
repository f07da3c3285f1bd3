"""nats-py alone: no SDK, no HTTP."""

import asyncio
import json
import uuid

import nats.errors
import nats.js.errors
import pytest
from conftest import PATIENCE

pytestmark = pytest.mark.anyio

REQUEST = json.dumps({"messages": [{"role": "user", "content": "one two three"}]}).encode()
ANSWER = "primary answers: one two three"


def text_of(completion):
    return completion["choices"][0]["message"]["content"]


async def test_publish_is_acknowledged_and_its_result_recorded(jetstream, result_of):
    request_id = uuid.uuid4().hex
    receipt = await jetstream.publish("llm.requests.chat", REQUEST, headers={"Llm-Request-Id": request_id})
    assert receipt.stream == "REQUESTS_chat"
    assert not receipt.duplicate

    result = await result_of(request_id)
    assert (result["id"], result["route"], result["status"]) == (request_id, "chat", "answered")
    assert (result["worker"], result["model"]) == ("primary", "gpt-5-mini")
    assert not result.get("degraded", False)
    assert text_of(result["answer"]) == ANSWER
    assert [attempt["worker"] for attempt in result["attempts"]] == ["primary"]


async def test_request_without_headers_is_named_by_its_place(jetstream, result_of):
    receipt = await jetstream.publish("llm.requests.chat", REQUEST)
    result = await result_of(f"chat-{receipt.seq}")
    assert text_of(result["answer"]) == ANSWER


async def test_repeated_publish_is_noticed(jetstream, result_of):
    name = {"Nats-Msg-Id": uuid.uuid4().hex}
    first = await jetstream.publish("llm.requests.chat", REQUEST, headers=name)
    again = await jetstream.publish("llm.requests.chat", REQUEST, headers=name)
    assert again.duplicate
    assert again.seq == first.seq
    assert text_of((await result_of(name["Nats-Msg-Id"]))["answer"]) == ANSWER


async def test_result_comes_to_the_reply_subject(connection, jetstream):
    inbox = connection.new_inbox()
    replies = await connection.subscribe(inbox)
    request_id = uuid.uuid4().hex
    await jetstream.publish(
        "llm.requests.chat", REQUEST, headers={"Llm-Request-Id": request_id, "Llm-Reply-To": inbox}
    )
    reply = await replies.next_msg(timeout=PATIENCE)
    assert reply.headers["Llm-Status"] == "answered"
    assert reply.headers["Llm-Request-Id"] == request_id
    assert text_of(json.loads(reply.data)["answer"]) == ANSWER


async def test_ask_is_request_and_reply(connection):
    reply = await connection.request("llm.ask.chat", REQUEST, timeout=PATIENCE)
    assert reply.headers["Llm-Status"] == "answered"
    completion = json.loads(reply.data)
    assert text_of(completion) == ANSWER
    assert completion["understudy"]["worker"] == "primary"


async def test_ask_keeps_the_request_id(connection, result_of):
    request_id = uuid.uuid4().hex
    reply = await connection.request(
        "llm.ask.chat", REQUEST, timeout=PATIENCE, headers={"Llm-Request-Id": request_id}
    )
    assert reply.headers["Llm-Request-Id"] == request_id
    assert (await result_of(request_id))["status"] == "answered"


async def test_tokens_come_in_order_and_then_the_result(connection, jetstream):
    inbox = connection.new_inbox()
    tokens = await connection.subscribe(inbox)
    request_id = uuid.uuid4().hex
    await jetstream.publish(
        "llm.requests.chat", REQUEST, headers={"Llm-Request-Id": request_id, "Llm-Stream-To": inbox}
    )
    heard, numbers = "", []
    while True:
        message = await tokens.next_msg(timeout=PATIENCE)
        if "Llm-Status" in message.headers:
            break
        numbers.append(int(message.headers["Llm-Chunk"]))
        assert message.headers["Llm-Worker"] == "primary"
        for choice in json.loads(message.data)["choices"]:
            heard += choice["delta"].get("content") or ""
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 2
    assert heard == ANSWER
    assert message.headers["Llm-Status"] == "answered"
    assert text_of(json.loads(message.data)["answer"]) == ANSWER


async def test_request_that_makes_no_sense_fails_with_a_reason(connection, jetstream, result_of):
    request_id = uuid.uuid4().hex
    await jetstream.publish("llm.requests.chat", b'{"messages": []}', headers={"Llm-Request-Id": request_id})
    result = await result_of(request_id)
    assert result["status"] == "failed"
    assert result["error"]["kind"] == "bad_request"
    assert result["error"]["param"] == "messages"

    reply = await connection.request("llm.ask.chat", b'{"messages": []}', timeout=PATIENCE)
    assert reply.headers["Llm-Status"] == "failed"
    assert reply.headers["Llm-Error-Code"] == "empty_array"
    assert json.loads(reply.data)["error"]["param"] == "messages"


async def test_unknown_route_is_not_acknowledged(connection, jetstream):
    with pytest.raises(nats.js.errors.NoStreamResponseError):
        await jetstream.publish("llm.requests.nowhere", REQUEST)
    reply = await connection.request("llm.ask.nowhere", REQUEST, timeout=PATIENCE)
    assert reply.headers["Llm-Error-Code"] == "route_not_found"


async def test_many_requests_at_once_are_all_answered(connection):
    async def ask(n):
        body = json.dumps({"messages": [{"role": "user", "content": f"number {n}"}]}).encode()
        return text_of(json.loads((await connection.request("llm.ask.chat", body, timeout=PATIENCE)).data))

    answers = await asyncio.gather(*(ask(n) for n in range(100)))
    assert answers == [f"primary answers: number {n}" for n in range(100)]
