// nats.js alone: no SDK, no HTTP.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { createInbox, headers } from "@nats-io/nats-core";
import { broker, patience, resultOf } from "./product.js";

const request = JSON.stringify({ messages: [{ role: "user", content: "one two three" }] });
const answer = "primary answers: one two three";
const textOf = (completion) => completion.choices[0].message.content;

let connection, streams, buckets;
before(async () => ({ connection, streams, buckets } = await broker()));
after(() => connection.close());

function named(values) {
  const named = headers();
  for (const [name, value] of Object.entries(values)) named.set(name, value);
  return named;
}

test("publish is acknowledged and its result recorded", async () => {
  const id = randomUUID();
  const receipt = await streams.publish("llm.requests.chat", request, { headers: named({ "Llm-Request-Id": id }) });
  assert.equal(receipt.stream, "REQUESTS_chat");
  assert.equal(receipt.duplicate, false);

  const result = await resultOf(buckets, id);
  assert.equal(result.id, id);
  assert.equal(result.status, "answered");
  assert.equal(result.worker, "primary");
  assert.equal(result.degraded ?? false, false);
  assert.equal(textOf(result.answer), answer);
});

test("request without headers is named by its place", async () => {
  const receipt = await streams.publish("llm.requests.chat", request);
  const result = await resultOf(buckets, `chat-${receipt.seq}`);
  assert.equal(textOf(result.answer), answer);
});

test("repeated publish is noticed", async () => {
  const msgID = randomUUID();
  const first = await streams.publish("llm.requests.chat", request, { msgID });
  const again = await streams.publish("llm.requests.chat", request, { msgID });
  assert.equal(again.duplicate, true);
  assert.equal(again.seq, first.seq);
});

test("ask is request and reply", async () => {
  const id = randomUUID();
  const reply = await connection.request("llm.ask.chat", request, {
    timeout: patience,
    headers: named({ "Llm-Request-Id": id }),
  });
  assert.equal(reply.headers.get("Llm-Status"), "answered");
  assert.equal(reply.headers.get("Llm-Request-Id"), id);
  assert.equal(textOf(reply.json()), answer);
  assert.equal(reply.json().understudy.worker, "primary");
});

test("tokens come in order and then the result", async () => {
  const inbox = createInbox();
  const tokens = connection.subscribe(inbox, { timeout: patience });
  await streams.publish("llm.requests.chat", request, { headers: named({ "Llm-Stream-To": inbox }) });
  const numbers = [];
  let heard = "";
  let result;
  for await (const message of tokens) {
    if (message.headers.has("Llm-Status")) {
      result = message.json();
      break;
    }
    numbers.push(Number(message.headers.get("Llm-Chunk")));
    for (const choice of message.json().choices) heard += choice.delta.content ?? "";
  }
  assert.ok(numbers.length >= 2);
  assert.deepEqual(numbers, [...numbers.keys()]);
  assert.equal(heard, answer);
  assert.equal(textOf(result.answer), answer);
});

test("request that makes no sense fails with a reason", async () => {
  const receipt = await streams.publish("llm.requests.chat", '{"messages": []}');
  const result = await resultOf(buckets, `chat-${receipt.seq}`);
  assert.equal(result.status, "failed");
  assert.equal(result.error.kind, "bad_request");
  assert.equal(result.error.param, "messages");
});

test("unknown route is not acknowledged", async () => {
  await assert.rejects(streams.publish("llm.requests.nowhere", request), {
    name: "JetStreamNotEnabled", // what the client calls it when nobody acknowledges
  });
  const reply = await connection.request("llm.ask.nowhere", request, { timeout: patience });
  assert.equal(reply.headers.get("Llm-Error-Code"), "route_not_found");
});
