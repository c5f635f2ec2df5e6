// Gradio's JavaScript client, unmodified: node gradio_page.mjs ADDRESS HASH

import { createHash } from "node:crypto";
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.ADIRE_CLIENTS}/`);
const { Client } = await import(pathToFileURL(require.resolve("@gradio/client")).href.replace(/index\.cjs$/, "index.js"));
const [address, hash] = process.argv.slice(2);
const call = {
  prompt: "a white star on blue cloth", seed: 11, steps: 4, guidance: 4, sampler: "ddim", width: 64, height: 64,
};

const client = await Client.connect(address, { events: ["data", "status"] });
const described = await client.view_api();
assert.deepEqual(Object.keys(described.named_endpoints).sort(), ["/adapters", "/generate", "/img2img"]);
const made = await client.predict("/generate", call);
assert.equal(made.data[1], 11);
const file = Buffer.from(await (await fetch(made.data[0].url)).arrayBuffer());
assert.equal(createHash("sha256").update(file).digest("hex"), hash, "the bytes of Adire's own API");
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

const job = client.submit("/generate", { ...call, steps: 150, width: 256, height: 256 });
for await (const event of job) {
  if (event.type === "status" && event.stage === "generating") await job.cancel();
  if (event.type === "status" && event.stage === "error") break;
}
await assert.rejects(client.predict("/generate", { ...call, sampler: "magic" }));
client.close();
process.exit(0);
