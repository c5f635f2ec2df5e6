// The studio page as people use it, on the starter model.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import AxeBuilder from '@axe-core/playwright';
import { Server, launchBrowser, openPage, screenshot } from '../studio.mjs';

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const STEPS = '6'; // enough to see a picture, few enough for a quick run

async function fill(page, { prompt = 'large white stars on blue cloth', seed = '7', steps = STEPS } = {}) {
  await page.fill('#field-prompt', prompt);
  await page.fill('#field-seed', seed);
  const field = page.locator('[name=steps]');
  if (!(await field.isVisible())) await page.locator('summary', { has: field }).first().click().catch(() => {});
  await field.fill(steps);
}

// Presses the button and waits until another picture than before is on the canvas.
async function generate(page) {
  const job = page.waitForResponse((response) => response.url().includes('/api/fn/generate'));
  await page.click('#generate');
  await job;
  await page.waitForSelector('#generate:not([disabled])');
  await page.waitForSelector('#picture');
  return bytesOf(page);
}

async function bytesOf(page) {
  const source = await page.getAttribute('#picture', 'src');
  const response = await fetch(new URL(source, server.url));
  assert.equal(response.status, 200);
  return Buffer.from(await response.arrayBuffer());
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function noSeriousProblems(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  assert.deepEqual(
    serious.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]),
    [],
  );
}

test('generate: progress, then the picture with its parameters, and a history', async () => {
  const page = await openPage(browser, server);
  await fill(page, { steps: '12' });
  await page.click('#generate');
  await page.waitForSelector('img.preview[src^="data:image/png"]');
  assert.match(await page.textContent('#status'), /Step \d+ of 12/);
  await page.waitForSelector('#picture');
  const [width, height] = await page.$eval('#picture', async (image) => {
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  });
  assert.deepEqual([width, height], [256, 256]);
  const png = await bytesOf(page);
  assert.ok(png.includes('parameters\0large white stars on blue cloth\n'), 'the PNG lacks its generation text');
  assert.equal(page.url().includes('?job='), true);
  assert.ok((await page.locator('.history img').count()) >= 1);
  await screenshot(page, 'done');
  await noSeriousProblems(page);

  // The history comes back with the visitor, and after a restart of the server.
  assert.deepEqual(page.complaints, []);
  await page.goto('about:blank'); // an open page would rightly complain of a server that is gone or still starting
  await server.kill();
  await server.spawn();
  await page.goto(server.url);
  await page.waitForSelector('.history img');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('cancel takes effect within a step', async () => {
  const page = await openPage(browser, server);
  await fill(page, { steps: '150' });
  await page.click('#generate');
  await page.waitForSelector('img.preview');
  const job = new URL(page.url()).searchParams.get('job');
  await page.click('#cancel');
  await page.waitForSelector('#generate');
  const { body } = await server.api('GET', `generations/${job}`);
  assert.equal(body.state, 'cancelled');
  assert.deepEqual(body.images, []);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('adapter versions: v1, v2, none at one seed; none is the base byte for byte', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'a cloth of circles in adire style' });
  const version = page.getByLabel('Version of adire');
  await version.selectOption('');
  const base = await generate(page);
  const pictures = [];
  for (const choice of ['adire@v1', 'adire@v2']) {
    await version.selectOption(choice);
    pictures.push(await generate(page));
  }
  await version.selectOption('');
  const again = await generate(page);
  assert.equal(new Set([base, ...pictures].map(sha256)).size, 3, 'three different pictures');
  assert.equal(sha256(again), sha256(base));
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('a reload in the middle finds the job again', async () => {
  const page = await openPage(browser, server);
  await fill(page, { steps: '60' });
  await page.click('#generate');
  await page.waitForSelector('img.preview');
  await page.goto(server.url); // even without the job's address
  await page.waitForSelector('#cancel');
  await page.waitForSelector('#picture', { timeout: 60_000 });
  assert.deepEqual(page.complaints.filter((text) => !text.includes('ERR_')), []);
  await page.context().close();
});

test('works as a plain form without a script', async () => {
  const page = await openPage(browser, server, { javaScriptEnabled: false });
  await page.fill('[name=prompt]', 'red moons on yellow cloth');
  await page.fill('[name=steps]', STEPS, { force: true }).catch(() => {});
  await page.click('#generate');
  await page.waitForURL(/\?job=/);
  // The page asks again by itself, but Chromium leaves <noscript> alone where a script is forbidden by a tool.
  for (let i = 0; i < 60 && !(await page.locator('#picture').count()); i++) {
    assert.match(await page.content(), /<noscript><meta http-equiv="refresh"|&lt;meta http-equiv="refresh"|id="picture"/);
    await page.waitForTimeout(1000);
    await page.reload();
  }
  assert.equal(await page.locator('#picture').count(), 1);
  await screenshot(page, 'no-script');
  // What is wrong is said on the page, and what was typed is still there.
  await page.goto(server.url);
  await page.fill('[name=prompt]', 'kept words');
  await page.fill('[name=seed]', 'not a number');
  await page.click('#generate');
  assert.match(await page.textContent('body'), /seed/i);
  assert.equal(await page.inputValue('[name=prompt]'), 'kept words');
  assert.ok(await page.locator('[name=seed][aria-invalid=true]').count(), 'the wrong field is marked');
  await page.context().close();
});

test('dropping a picture restores the form', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'green leaves on white cloth', seed: '4242', steps: '5' });
  const png = await generate(page);
  const fresh = await openPage(browser, server);
  await fresh.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], 'picture.png', { type: 'image/png' }));
    for (const type of ['dragenter', 'dragover', 'drop']) {
      document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
  }, png.toString('base64'));
  await fresh.waitForFunction(() => document.querySelector('#field-prompt').value === 'green leaves on white cloth');
  assert.equal(await fresh.inputValue('#field-seed'), '4242');
  assert.equal(await fresh.locator('[name=steps]').inputValue(), '5');
  assert.deepEqual(fresh.complaints, []);
  await page.context().close();
  await fresh.context().close();
});

test('prompts: tokens are counted, a key weighs words, undo takes it back', async () => {
  const page = await openPage(browser, server);
  const prompt = page.locator('#field-prompt');
  await prompt.fill('large white stars');
  await page.waitForFunction(() => /^[1-9]\d* \/ 75$/.test(document.querySelector('#tokens-prompt').textContent));
  await prompt.focus();
  await prompt.evaluate((field) => field.setSelectionRange(6, 11));
  await page.keyboard.press('Control+ArrowUp');
  assert.equal(await prompt.inputValue(), 'large (white:1.1) stars');
  await page.keyboard.press('Control+ArrowUp');
  assert.equal(await prompt.inputValue(), 'large (white:1.2) stars');
  await page.keyboard.press('Control+z');
  await page.keyboard.press('Control+z');
  assert.equal(await prompt.inputValue(), 'large white stars');
  await page.context().close();
});

test('an empty prompt is explained and nothing is sent', async () => {
  const page = await openPage(browser, server);
  await page.fill('#field-prompt', '   ');
  await page.click('#generate');
  await page.waitForSelector('#field-prompt[aria-invalid=true]');
  await noSeriousProblems(page);
  await page.context().close();
});

for (const [name, viewport] of Object.entries({ phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } })) {
  for (const colorScheme of ['light', 'dark']) {
    test(`no serious accessibility problem: ${name}, ${colorScheme}`, async () => {
      const page = await openPage(browser, server, { viewport, colorScheme });
      await screenshot(page, `empty-${name}-${colorScheme}`);
      await noSeriousProblems(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    });
  }
}
