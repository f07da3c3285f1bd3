"""The openai package, pointed at the gateway."""

import openai
import pytest

QUESTION = [{"role": "user", "content": "one two three"}]
ANSWER = "primary answers: one two three"
TOOL = {
    "type": "function",
    "function": {
        "name": "order_state",
        "description": "Where an order is.",
        "parameters": {"type": "object", "properties": {"order": {"type": "string"}}},
    },
}


def test_whole_answer(client):
    answer = client.chat.completions.create(model="gpt-5-mini", messages=QUESTION)
    assert answer.object == "chat.completion"
    assert answer.model == "gpt-5-mini"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_route_name_is_a_model(client):
    answer = client.chat.completions.create(model="chat", messages=QUESTION)
    assert answer.choices[0].message.content == ANSWER


def test_headers_and_body_say_who_answered(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=QUESTION)
    assert raw.headers["understudy-worker"] == "primary"
    assert raw.headers["understudy-model"] == "gpt-5-mini"
    assert raw.headers["understudy-attempts"] == "1"
    assert raw.headers["understudy-degraded"] == "false"
    assert raw.headers["x-should-retry"] == "false"
    credit = raw.parse().model_extra["understudy"]
    assert credit == {
        "id": raw.headers["understudy-request-id"],
        "worker": "primary",
        "model": "gpt-5-mini",
        "attempts": 1,
        "degraded": False,
    }


def test_stream_is_the_whole_answer_in_pieces(client):
    pieces, finishes = [], []
    with client.chat.completions.create(model="gpt-5-mini", messages=QUESTION, stream=True) as stream:
        assert stream.response.headers["understudy-worker"] == "primary"
        for chunk in stream:
            assert chunk.usage is None
            for choice in chunk.choices:
                pieces.append(choice.delta.content or "")
                finishes.append(choice.finish_reason)
    assert len([piece for piece in pieces if piece]) >= 2
    assert "".join(pieces) == ANSWER
    assert [finish for finish in finishes if finish] == ["stop"]
    assert finishes[-1] == "stop"


def test_stream_counts_tokens_when_asked(client):
    whole = client.chat.completions.create(model="gpt-5-mini", messages=QUESTION)
    stream = client.chat.completions.create(
        model="gpt-5-mini", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert not any(chunk.usage for chunk in chunks[:-1])


def test_stream_helper_puts_the_answer_together(client):
    with client.chat.completions.stream(model="gpt-5-mini", messages=QUESTION) as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"


def test_tool_is_called_and_its_result_answered(client):
    call = client.chat.completions.create(
        model="gpt-5-mini", messages=QUESTION, tools=[TOOL], tool_choice="required"
    ).choices[0]
    assert call.finish_reason == "tool_calls"
    asked = call.message.tool_calls[0]
    assert (asked.type, asked.function.name, asked.function.arguments) == ("function", "order_state", "{}")

    answer = client.chat.completions.create(
        model="gpt-5-mini",
        messages=[*QUESTION, call.message, {"role": "tool", "tool_call_id": asked.id, "content": "on its way"}],
        tools=[TOOL],
    )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == ANSWER


def test_streamed_tool_call(client):
    with client.chat.completions.stream(
        model="gpt-5-mini", messages=QUESTION, tools=[TOOL], tool_choice="required"
    ) as stream:
        call = stream.get_final_completion().choices[0]
    assert call.finish_reason == "tool_calls"
    assert call.message.tool_calls[0].function.name == "order_state"


def test_models_are_listed(client):
    assert {model.id for model in client.models.list()} == {"brief", "chat", "gpt-5-mini"}
    assert client.models.retrieve("chat").owned_by == "understudy"


def test_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


@pytest.mark.parametrize(
    ("messages", "param", "code"),
    [
        ([], "messages", "empty_array"),
        ("hello", "messages", "invalid_type"),
        (["hello"], "messages[0]", "invalid_type"),
        ([*QUESTION, {"content": "whose?"}], "messages[1].role", "missing_required_parameter"),
    ],
)
def test_invalid_messages_are_a_bad_request(client, messages, param, code):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-5-mini", messages=messages)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "code"),
    [("context_length", "context_length_exceeded"), ("content_filter", "content_filter")],
)
def test_refusal_of_the_provider_comes_as_it_is(client, provider, kind, code, stream):
    provider.fails_once(kind=kind)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-5-mini", messages=QUESTION, stream=stream)
    assert caught.value.code == code


def test_failure_of_a_moment_is_not_seen(client, provider):
    provider.fails_once(kind="status", status=503)
    raw = client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=QUESTION)
    assert raw.parse().choices[0].message.content == ANSWER
    assert raw.headers["understudy-attempts"] == "2"


def test_cut_stream_never_looks_complete(client, provider):
    provider.fails_once(kind="cut", tokens=2)
    heard, finished = "", False
    try:
        for chunk in client.chat.completions.create(model="gpt-5-mini", messages=QUESTION, stream=True):
            heard += chunk.choices[0].delta.content or ""
            finished = chunk.choices[0].finish_reason is not None
    except openai.APIError:
        assert not finished
    else:
        assert (heard, finished) == (ANSWER, True)


@pytest.mark.anyio
async def test_asynchronous_client(url):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        stream = await client.chat.completions.create(model="gpt-5-mini", messages=QUESTION, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == ANSWER
