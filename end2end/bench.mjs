// What a visit costs: bytes, requests, first paint, overhead of a generation beyond the engine's own time, memory.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { Server, launchBrowser } from './studio.mjs';

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const budgets = [];
const row = (what, value, unit, limit) => {
  const verdict = limit === undefined ? '' : value <= limit ? 'within' : 'OVER';
  budgets.push(verdict);
  console.log(`${what.padEnd(44)} ${String(value).padStart(9)} ${unit.padEnd(6)} ${limit === undefined ? '' : `budget ${limit} ${unit}: ${verdict}`}`);
};

const began = performance.now();
const server = await Server.start();
const startMs = performance.now() - began;
// From the request to the last event, less the seconds that the engine reports. Before the browser starts, which is never
// quite idle; the first ones warm both ends up.
const overheads = [];
for (let i = -4; i < 15; i++) {
  const start = performance.now();
  const { body } = await server.api('POST', 'generations', { prompt: 'white stars on blue cloth', seed: i + 4, steps: 4 });
  const stream = await fetch(`${server.url}${body.links.events}`);
  await stream.text();
  const wall = performance.now() - start;
  const done = await server.api('GET', `generations/${body.id}`);
  if (i >= 0) overheads.push(wall - done.body.images[0].recipe.seconds * 1000);
}
const browser = await launchBrowser();

// What the browser and the machine need for any page at all.
const word = createServer((_, answer) => {
  answer.setHeader('content-type', 'text/html');
  answer.end('<!doctype html><title>word</title>word');
});
await new Promise((resolve) => word.listen({ port: 0, host: '127.0.0.1' }, () => resolve(undefined)));
const wordAddress = word.address();
if (wordAddress === null || typeof wordAddress === 'string') throw new Error('the page of one word has no port');
const wordUrl = `http://127.0.0.1:${wordAddress.port}/`;

async function visit(url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);
  await cdp.send('Network.enable');
  // A new window of the browser is busy with itself at first; what is measured is the page.
  await page.waitForTimeout(1000);
  let bytes = 0;
  let requests = 0;
  cdp.on('Network.requestWillBeSent', () => requests++);
  cdp.on('Network.loadingFinished', (event) => (bytes += event.encodedDataLength));
  await page.goto(url, { waitUntil: 'networkidle' });
  const { paint, whole } = await page.evaluate(async () => ({
    paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.NaN,
    whole: await new Promise((resolve) => {
      const latest = (list) => resolve(list.getEntries().at(-1).startTime);
      new PerformanceObserver(latest).observe({ type: 'largest-contentful-paint', buffered: true });
    }),
  }));
  await context.close();
  return { bytes, requests, paint, whole };
}

// In turns, so that both see the same moments of the machine.
const visits = [];
const words = [];
for (let i = 0; i < 7; i++) {
  visits.push(await visit(server.url));
  words.push(await visit(wordUrl));
}
word.close();

const status = await readFile(`/proc/${server.child.pid}/status`, 'utf8');
const resident = Number(status.match(/VmRSS:\s+(\d+)/)[1]) / 1024;

row('first visit, transferred', Math.round(median(visits.map((v) => v.bytes)) / 100) / 10, 'kB', 250);
row('first visit, requests', median(visits.map((v) => v.requests)), '', 10);
row('first contentful paint', Math.round(median(visits.map((v) => v.paint))), 'ms', 150);
row('that of a page of one word', Math.round(median(words.map((v) => v.paint))), 'ms');
row('largest contentful paint', Math.round(median(visits.map((v) => v.whole))), 'ms');
row('generation beyond the engine’s own time', Math.round(median(overheads) * 10) / 10, 'ms', 10);
row('start until ready, with the starter model', Math.round(startMs), 'ms');
row('resident, with the starter model', Math.round(resident), 'MB');

await browser.close();
await server.stop();
process.exitCode = budgets.includes('OVER') ? 1 : 0;
