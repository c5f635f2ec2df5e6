// The thin layer over Leptos (app/src/thin) in a browser: hydration, changes in place, every server function, and answers
// that are late, broken or missing.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { draw, fill, generate, unfold } from '../page.mjs';
import { Server, launchBrowser, openPage } from '../studio.mjs';

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const hydrated = (page) => page.waitForSelector('html[data-hydrated]', { state: 'attached' });
const tiles = (page) => page.locator('#history .tile-link').count();

// Complaints other than the browser's own about answers that a test has broken.
const complaints = (page) => page.complaints.filter((text) => !text.startsWith('Failed to load resource'));

for (const shown of ['the empty studio', 'an image and a strip']) {
  test(`hydration keeps every element: ${shown}`, async () => {
    const page = await openPage(browser, server);
    if (shown !== 'the empty studio') {
      await fill(page, { steps: '2' });
      await generate(page);
    }
    /** @type {() => void} */
    let release;
    const looked = new Promise((resolve) => (release = () => resolve(undefined)));
    await page.route('**/*.wasm', async (route) => {
      await looked;
      await route.continue();
    });
    await page.reload({ waitUntil: 'domcontentloaded' });
    const rendered = await page.evaluateHandle(() => [...document.body.querySelectorAll('*')]);
    assert.equal(await page.locator('html[data-hydrated]').count(), 0, 'looked at before hydration');
    assert.ok((await rendered.evaluate((all) => all.length)) > 100);
    release();
    await hydrated(page);
    const gone = await rendered.evaluate((all) => all.filter((one) => !one.isConnected).map((one) => one.outerHTML));
    assert.deepEqual(gone, []);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });
}

test('texts, flags and views change in place; the focus stays, or moves to what replaces its element', async () => {
  const page = await openPage(browser, server);
  const find = () => ['#generate', '#generate .what', '#field-seed', '.history', '.notices'].map((one) => document.querySelector(one));
  const first = await page.evaluateHandle(find);
  const same = () => first.evaluate((all) => all.every((one) => one.isConnected));
  await fill(page, { steps: '150' });
  await page.selectOption('[name=count]', '3');
  assert.equal(await page.textContent('#generate .what'), 'Generate 3 images');
  await page.selectOption('[name=count]', '1');
  assert.equal(await page.textContent('#generate .what'), 'Generate');
  // A view and two attributes appear beside the field that has the focus, and go.
  await page.fill('#field-seed', 'absurd');
  await page.press('#field-seed', 'Enter');
  await page.waitForSelector('#field-seed[aria-invalid=true]:focus');
  assert.equal(await page.getAttribute('#field-seed', 'aria-describedby'), 'field-seed-problem');
  assert.match(await page.textContent('#field-seed-problem'), /seed/i);
  assert.equal(await page.inputValue('#field-seed'), 'absurd');
  assert.ok(await same(), 'the elements are the first ones');
  await page.fill('#field-seed', '7');
  await page.focus('#generate');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#cancel:focus');
  assert.equal(await page.locator('#field-seed-problem, #field-seed[aria-invalid]').count(), 0);
  // The preview is one element whose source changes: a new one at each step would flicker.
  await page.waitForSelector('img.preview');
  const changed = await page.$eval('img.preview', (image) => new Promise((resolve) => {
    const seen = new MutationObserver(() => {
      seen.disconnect();
      resolve(image.isConnected && document.querySelectorAll('img.preview').length);
    });
    seen.observe(image, { attributeFilter: ['src'] });
  }));
  assert.equal(changed, 1);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#generate:focus');
  assert.match(await page.textContent('.cloth'), /Cancelled/);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('every server function answers; a stream that breaks off is taken up again', async () => {
  const page = await openPage(browser, server);
  const source = await readFile(new URL('../../app/src/thin/client/functions.rs', import.meta.url), 'utf8');
  const names = new Set([...source.matchAll(/\/api\/fn\/(\w+)/g)].map(([, name]) => name));
  assert.ok(names.size >= 7, `only ${[...names]}`);
  const called = new Map();
  page.on('response', (answer) => {
    const name = new URL(answer.url()).pathname.match(/^\/api\/fn\/(\w+)$/)?.[1];
    if (name) called.set(name, answer.status());
  });
  // Through a stream of the page's own, which a test can break: first with events that are none, then for good.
  await page.addInitScript(() => Reflect.deleteProperty(window, 'SharedWorker'));
  const bad = 'retry: 1\n\nevent: progress\ndata: {\n\nevent: progress\ndata: {}\n\nevent: image\ndata: {"image":7}\n\n';
  const answers = [{ contentType: 'text/event-stream', body: bad }, { status: 500, body: '' }];
  await page.route('**/api/v1/generations/*/events*', (route) => {
    const answer = answers.shift();
    return answer ? route.fulfill(answer) : route.continue();
  });
  // More images than the strip shows at first.
  for (const seed of [1, 2, 3, 4]) {
    const data = { prompt: 'stars', seed, count: 8, steps: 1, width: 64, height: 64 };
    const made = await (await page.request.post(`${server.url}/api/v1/generations`, { data })).json();
    await page.request.get(server.url + made.links.events);
  }
  await page.goto(server.url);
  await hydrated(page);
  assert.equal(await tiles(page), 24);
  await page.getByText('Load more').click();
  await page.waitForFunction(() => document.querySelectorAll('#history .tile-link').length === 32);
  assert.equal(await page.getByText('Load more').count(), 0);
  await page.waitForResponse((answer) => answer.url().includes('/api/fn/queue'));

  await fill(page, { steps: '150' });
  const again = page.waitForResponse((answer) => answer.url().includes('/api/fn/studio'));
  await page.click('#generate');
  await page.locator('.notice', { hasText: 'Connection lost' }).waitFor();
  await again;
  await page.waitForSelector('img.preview');
  assert.equal(await page.locator('.notice').count(), 0, 'the message is gone');
  await page.click('#cancel');
  await page.waitForSelector('#generate');

  const count = await tiles(page);
  await page.locator('#history .tile-link').first().click();
  await unfold(page, 'Delete');
  await page.click('#delete form[action$="/delete"] button');
  await page.waitForFunction((count) => document.querySelectorAll('#history .tile-link').length === count - 1, count);
  await unfold(page, 'Delete');
  await page.click('#delete form[action$="/delete_all"] button');
  await page.waitForSelector('.history[hidden]', { state: 'attached' });
  assert.equal(await tiles(page), 0);
  assert.deepEqual([...called].toSorted(), [...names].toSorted().map((name) => [name, 200]));
  assert.deepEqual(complaints(page), []);
  await page.context().close();
});

test('answers that are broken, refusals and a lost connection show a message, and the page works', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'kept words', steps: '2' });
  const problem = page.locator('.notice.problem');
  const answers = async (where, answer, action) => {
    await page.route(where, (route) => (answer ? route.fulfill(answer) : route.abort()));
    await action();
    await page.unroute(where);
  };
  const says = (answer, words) => answers('**/api/fn/generate', answer, async () => {
    await page.click('#generate');
    await problem.filter({ hasText: words }).waitFor();
    await page.click('[aria-label="Dismiss message"]');
    assert.equal(await problem.count(), 0);
    await page.waitForSelector('#generate:not([disabled])');
    assert.equal(await page.inputValue('#field-prompt'), 'kept words');
  });
  const unreadable = /could not be read/;
  await says({ body: '' }, unreadable);
  await says({ body: '<!doctype html><p>Sign in to this network' }, unreadable);
  await says({ json: null }, unreadable);
  await says({ json: [] }, unreadable);
  await says({ json: { id: 'one', state: 'dreaming' } }, unreadable);
  await says({ status: 502, body: '<h1>Bad gateway</h1>' }, unreadable);
  await says({ status: 500, json: { code: 7 } }, unreadable);
  await says({ status: 503, json: { message: 'The disk is full.', fields: [] } }, /^The disk is full\./);
  await says(undefined, /Couldn't reach the server/);

  const fields = [{ field: 'seed', message: 'Too odd.' }];
  await answers('**/api/fn/generate', { status: 422, json: { message: 'Invalid.', fields } }, async () => {
    await page.click('#generate');
    await page.waitForSelector('#field-seed[aria-invalid=true]:focus');
    assert.equal(await page.textContent('#field-seed-problem'), 'Too odd.');
  });

  // What the page asks by itself is left out until the next answer.
  await answers('**/api/fn/queue', { json: { ahead: 'many' } }, () =>
    page.waitForResponse((answer) => answer.url().includes('/api/fn/queue')));
  await answers('**/api/v1/tokens', { json: { prompt: { tokens: '7' } } }, async () => {
    const counted = page.waitForResponse((answer) => answer.url().includes('/api/v1/tokens'));
    await page.fill('#field-prompt', 'other words');
    await counted;
  });
  // The API's errors have other names.
  const upload = async (answer, words) => answers('**/api/v1/uploads?*', answer, async () => {
    const buffer = await draw(page);
    await page.setInputFiles('#field-init_image', { name: 'a.png', mimeType: 'image/png', buffer });
    await page.locator('#field-init_image-problem', { hasText: words }).waitFor();
  });
  await unfold(page, 'Init image');
  await upload({ json: { hash: 7 } }, unreadable);
  await upload({ status: 429, json: { detail: 'Too many of them.' } }, 'Too many of them.');
  await upload(undefined, "Couldn't reach the server");

  await page.fill('#field-prompt', 'kept words');
  await page.waitForFunction(() => /^\d+ \/ 75$/.test(document.querySelector('#tokens-prompt').textContent));
  await generate(page);
  assert.equal(await problem.count(), 0);
  assert.deepEqual(complaints(page), []);
  await page.context().close();
});
