// Where the product and its provider are, and the clients that talk to them.

import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import OpenAI from "openai";

export const patience = 30_000; // milliseconds that any wait may take

/** An OpenAI client of the gateway. It never tries again on its own. */
export function openai() {
  return new OpenAI({
    baseURL: `${process.env.UNDERSTUDY_URL}/v1`,
    apiKey: "unused",
    maxRetries: 0,
    timeout: patience,
  });
}

/** A connection to the broker, with its streams and buckets. Close it. */
export async function broker() {
  const connection = await connect({ servers: process.env.NATS_URL });
  return { connection, streams: jetstream(connection), buckets: new Kvm(connection) };
}

/** Watches keys of a bucket until one entry passes, and returns what it passed with. */
export async function watch(buckets, bucket, key, pass) {
  const entries = await (await buckets.open(bucket)).watch({ key });
  const late = setTimeout(() => entries.stop(new Error(`nothing in ${bucket}/${key} in time`)), patience);
  try {
    for await (const entry of entries) {
      const passed = entry.operation === "PUT" && pass(entry.json(), entry.key);
      if (passed) return passed;
    }
    throw new Error(`nothing in ${bucket}/${key} in time`);
  } finally {
    clearTimeout(late);
    entries.stop();
  }
}

/** Waits for the recorded end of a request. */
export function resultOf(buckets, id) {
  return watch(buckets, "results", id, (result) => result);
}

/** Tells the provider something: "down", "up", "faults". */
export async function tellProvider(path, value) {
  const response = await fetch(`${process.env.PROVIDER_URL}/admin/${path}`, {
    method: "PUT",
    body: value && JSON.stringify(value),
  });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
}
