// The provider is down: what the rules know is answered, and says what it is.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { headers } from "@nats-io/nats-core";
import { broker, openai, patience, resultOf, tellProvider, watch } from "./product.js";

const client = openai();
const model = "gpt-5-mini";
const messages = [{ role: "user", content: "How long does a refund take?" }];

let connection, streams, buckets;
before(async () => ({ connection, streams, buckets } = await broker()));
after(() => connection.close());

beforeEach(() => tellProvider("down"));
// The outage must be over when the next test begins.
afterEach(async () => {
  await tellProvider("up");
  const owners = new Map();
  await watch(buckets, "owners", "chat.*", (owner, key) => {
    owners.set(key, owner.worker);
    return owners.size >= 10 && [...owners].every(([key, worker]) => !/\.\d$/.test(key) || worker === "primary");
  });
  const until = Date.now() + patience;
  for (let worker; worker !== "primary"; ) {
    assert.ok(Date.now() < until, "the provider is back, but nobody asks it");
    const { response } = await client.chat.completions.create({ model, messages }).withResponse();
    worker = response.headers.get("understudy-worker");
  }
});

test("OpenAI client is answered by rules", async () => {
  const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
  assert.equal(response.headers.get("understudy-worker"), "rules");
  assert.equal(response.headers.get("understudy-degraded"), "true");
  assert.match(data.choices[0].message.content, /7 working days/);
  assert.equal(data.understudy.degraded, true);

  const stream = client.chat.completions.stream({ model, messages });
  assert.equal(await stream.finalContent(), data.choices[0].message.content);
});

test("NATS client is answered by rules", async () => {
  const id = randomUUID();
  const named = headers();
  named.set("Llm-Request-Id", id);
  await streams.publish("llm.requests.chat", JSON.stringify({ messages }), { headers: named });
  const result = await resultOf(buckets, id);
  assert.equal(result.status, "answered");
  assert.equal(result.worker, "rules");
  assert.equal(result.degraded, true);
  assert.match(result.answer.choices[0].message.content, /7 working days/);
});
