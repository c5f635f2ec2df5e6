// Gradio's JavaScript client, unmodified: node gradio_page.mjs ADDRESS run HASH, or with another state of the server.

import { createHash } from "node:crypto";
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.ADIRE_CLIENTS}/`);
const { Client } = await import(pathToFileURL(require.resolve("@gradio/client")).href.replace(/index\.cjs$/, "index.js"));
const [address, state, argument] = process.argv.slice(2);
const call = {
  prompt: "a white star on blue cloth", seed: 11, steps: 4, guidance: 4, sampler: "ddim", width: 64, height: 64,
};

/** The client's own error: a message or a status with these words. */
async function fails(words, work) {
  const error = await work().then(() => assert.fail(`no error with ${words}`), (error) => error);
  const text = error instanceof Error ? error.message : JSON.stringify(error);
  assert.match(text, words);
  console.log(`  ${text.slice(0, 110)}`);
}

const connect = (options = {}) => Client.connect(address, { events: ["data", "status"], ...options });
const long = { ...call, steps: 150, width: 256, height: 256 };

/** The server in a bad state. `stopping` says that it waits, so that the server can be stopped. */
const states = {
  loading: () => fails(/config|loading/i, () => connect()),
  full: async () => {
    const client = await connect();
    // Its words for a 503 of the queue.
    await fails(/currently busy/, () => client.predict("/generate", call));
  },
  stopping: async () => {
    const client = await connect();
    const job = client.submit("/generate", long);
    for await (const event of job) {
      if (event.type !== "status") continue;
      // It says “pending” itself before its stream is there; what has a place or progress came by the stream.
      if (event.position != null || event.progress_data != null) console.log("ready");
      if (event.stage === "error") return assert.match(event.message, /shutting down/i);
    }
    assert.fail("the job ended without an error");
  },
  credentials: async () => {
    const client = await connect({ auth: ["any", argument] });
    assert.equal((await client.predict("/generate", call)).data[1], 11);
    await fails(/login|credentials|auth/i, () => connect({ auth: ["any", "wrong"] }));
    await fails(/login|credentials|auth|config/i, () => connect({ headers: { authorization: "Bearer wrong" } }));
  },
};
if (state !== "run") {
  await states[state]();
  process.exit(0);
}

const client = await connect();
const described = await client.view_api();
assert.deepEqual(Object.keys(described.named_endpoints).sort(), ["/adapters", "/generate", "/img2img"]);
const made = await client.predict("/generate", call);
assert.equal(made.data[1], 11);
const file = Buffer.from(await (await fetch(made.data[0].url)).arrayBuffer());
assert.equal(createHash("sha256").update(file).digest("hex"), argument, "the bytes of Adire's own API");
console.log("  predict: the bytes of Adire's own API");

const uploaded = await client.predict("/img2img", {
  image: new Blob([file], { type: "image/png" }), prompt: "a blue moon", denoising_strength: 0.5, steps: 4,
});
assert.ok(uploaded.data[0].path.endsWith(".png"));

const stages = new Set();
for await (const event of client.submit("/generate", { ...call, steps: 30 })) {
  if (event.type === "status") stages.add(event.stage);
}
assert.ok(stages.has("generating") || stages.has("pending"), [...stages].join());
assert.ok(stages.has("complete"), [...stages].join());

const job = client.submit("/generate", long);
for await (const event of job) {
  if (event.type === "status" && event.stage === "generating") await job.cancel();
  if (event.type === "status" && event.stage === "error") break;
}
await assert.rejects(client.predict("/generate", { ...call, sampler: "magic" }));
client.close();
process.exit(0);
