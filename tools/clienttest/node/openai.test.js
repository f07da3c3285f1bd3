// The openai package, pointed at the gateway.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import OpenAI from "openai";
import { openai, tellProvider } from "./product.js";

const client = openai();
const model = "gpt-5-mini";
const messages = [{ role: "user", content: "one two three" }];
const answer = "primary answers: one two three";

afterEach(() => tellProvider("faults", []));

test("whole answer", async () => {
  const completion = await client.chat.completions.create({ model, messages });
  assert.equal(completion.object, "chat.completion");
  assert.equal(completion.model, model);
  assert.equal(completion.choices[0].message.content, answer);
  assert.equal(completion.choices[0].finish_reason, "stop");
  assert.ok(completion.usage.total_tokens > 0);
});

test("headers and body say who answered", async () => {
  const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
  assert.equal(response.headers.get("understudy-worker"), "primary");
  assert.equal(response.headers.get("understudy-model"), model);
  assert.equal(response.headers.get("understudy-attempts"), "1");
  assert.equal(response.headers.get("understudy-degraded"), "false");
  assert.deepEqual(data.understudy, {
    id: response.headers.get("understudy-request-id"),
    worker: "primary",
    model,
    attempts: 1,
    degraded: false,
  });
});

test("stream is the whole answer in pieces", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  const pieces = [];
  const finishes = [];
  let usage;
  for await (const chunk of stream) {
    for (const choice of chunk.choices) {
      if (choice.delta.content) pieces.push(choice.delta.content);
      if (choice.finish_reason) finishes.push(choice.finish_reason);
    }
    usage = chunk.usage ?? usage;
  }
  assert.ok(pieces.length >= 2);
  assert.equal(pieces.join(""), answer);
  assert.deepEqual(finishes, ["stop"]);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
});

test("stream helper puts the answer together", async () => {
  const stream = client.chat.completions.stream({ model, messages });
  assert.equal(await stream.finalContent(), answer);
});

test("tool is called and its result answered", async () => {
  const tools = [{ type: "function", function: { name: "order_state", parameters: { type: "object", properties: {} } } }];
  const asked = await client.chat.completions.create({ model, messages, tools, tool_choice: "required" });
  assert.equal(asked.choices[0].finish_reason, "tool_calls");
  const [call] = asked.choices[0].message.tool_calls;
  assert.equal(call.function.name, "order_state");

  const told = [...messages, asked.choices[0].message, { role: "tool", tool_call_id: call.id, content: "on its way" }];
  const completion = await client.chat.completions.create({ model, messages: told, tools });
  assert.equal(completion.choices[0].message.content, answer);
});

test("models are listed", async () => {
  const names = [];
  for await (const listed of client.models.list()) names.push(listed.id);
  assert.deepEqual(names.sort(), ["brief", "chat", model]);
  assert.equal((await client.models.retrieve("chat")).owned_by, "understudy");
});

test("unknown model is not found", async () => {
  await assert.rejects(client.chat.completions.create({ model: "no-such-model", messages }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    assert.equal(error.param, "model");
    return true;
  });
});

test("invalid messages are a bad request", async () => {
  await assert.rejects(client.chat.completions.create({ model, messages: [{ content: "whose?" }] }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.code, "missing_required_parameter");
    assert.equal(error.param, "messages[0].role");
    return true;
  });
});

test("refusal of the provider comes as it is", async () => {
  for (const stream of [false, true]) {
    await tellProvider("faults", [{ kind: "context_length", count: 1 }]);
    await assert.rejects(client.chat.completions.create({ model, messages, stream }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.code, "context_length_exceeded");
      return true;
    });
  }
});

test("cut stream never looks complete", async () => {
  await tellProvider("faults", [{ kind: "cut", tokens: 2, count: 1 }]);
  let heard = "";
  let finished = false;
  try {
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
      heard += chunk.choices[0].delta.content ?? "";
      finished = chunk.choices[0].finish_reason !== null;
    }
  } catch (error) {
    assert.ok(error instanceof OpenAI.APIError, error);
    assert.equal(finished, false);
    return;
  }
  assert.equal(heard, answer);
  assert.ok(finished);
});
