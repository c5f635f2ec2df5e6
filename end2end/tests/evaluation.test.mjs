// Evaluations: started by the API, followed on their page, compared, and the gate's settings.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { noSeriousProblems } from '../page.mjs';
import { Server, launchBrowser, screenshot } from '../studio.mjs';

const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } };
const SUITE = `name = "two"
seeds = [7]
prompts = ["large white stars on blue cloth, {trigger}", "small red hearts on white cloth, {trigger}"]
`;
const PATIENCE = 240_000;

let server;
let browser;
let admin; // one context with a session
before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
  admin = await browser.newContext({ viewport: SIZES.desk });
  const page = await admin.newPage();
  await page.goto(server.adminLink());
  await page.waitForURL(/\/admin$/);
  await page.close();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function open(path) {
  const page = await admin.newPage();
  page.complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) page.complaints.push(message.text());
  });
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  await page.goto(server.url + path);
  return page;
}

// The page in every size and theme: no serious problem, no overflow, a screenshot of each.
async function lookAt(page, name) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await noSeriousProblems(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${name} is ${overflow} px too wide: ${size}`);
      await screenshot(page, `admin-${name}-${size}-${colorScheme}`);
    }
  }
  await page.setViewportSize(SIZES.desk);
}

async function evaluate(page, body) {
  const answer = await page.request.post(`${server.url}/admin/api/evaluations`, { data: body });
  assert.equal(answer.status(), 202, await answer.text());
  return answer.json();
}

test('an evaluation is followed to its verdict, compared and rerun', { timeout: 2 * PATIENCE }, async () => {
  const page = await open('/admin/evaluations');
  await lookAt(page, 'evaluations-empty');
  const { id } = await evaluate(page, { version: 'adire@v2', against: 'adire@v1', suite: SUITE });
  await page.goto(`${server.url}/admin/evaluations/${id}`);
  await page.evaluate(() => (window.stayed = true));
  await page.waitForSelector('.triptych img', { timeout: PATIENCE });
  await lookAt(page, 'evaluation-running');
  await page.waitForSelector('#live[data-state=done]', { timeout: PATIENCE });
  assert.equal(await page.evaluate(() => window.stayed), true, 'the page was not loaded again');
  assert.match(await page.textContent('.standing'), /Inconclusive/);
  assert.match(await page.textContent('.notes'), /2 of the 6 prompts/);
  const names = await page.locator('#live .triptych >> nth=0').locator('figcaption b').allTextContents();
  assert.deepEqual(names, ['Base model', 'adire@v1', 'adire@v2']);
  assert.equal(await page.locator('.criteria >> nth=0').locator('> li').count(), 4);
  await lookAt(page, 'evaluation-done');

  // The numbers of a prompt lead to its images.
  await page.click('#per-prompt-adherence summary');
  await page.click('#per-prompt-adherence a[href="#prompt-0"]');
  assert.match(page.url(), /#prompt-0$/);
  assert.equal(await page.locator('#prompt-0 img').first().isVisible(), true);

  await page.click('text=Compare images');
  const slider = page.locator('.overlaid input[type=range]').first();
  await slider.fill('20');
  assert.match(await slider.getAttribute('aria-valuetext'), /20% adire@v1/);
  await lookAt(page, 'versions-compare');

  await page.goto(`${server.url}/admin/evaluations/${id}`);
  await page.click('button[value=verdict]');
  await page.waitForURL((url) => url.pathname.startsWith('/admin/evaluations/') && !url.pathname.endsWith(id));
  await page.waitForSelector('#live[data-state=done]', { timeout: PATIENCE });
  assert.match(await page.textContent('#live'), /Reused[\s\S]*It was requested to run again/);
  await page.goto(`${server.url}/admin/evaluations`);
  assert.equal(await page.locator('.list tbody tr').count(), 2);
  await lookAt(page, 'evaluations');
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('a version is evaluated by its button, and cancelled', { timeout: PATIENCE }, async () => {
  const page = await open('/admin/versions');
  await lookAt(page, 'versions-evaluate');
  await page.click('button[aria-label="Evaluate: adire@v1"]');
  await page.waitForURL(/\/admin\/evaluations\/[0-9a-f-]{36}$/);
  await page.click('button[value=cancel]');
  await page.waitForSelector('#live[data-state=cancelled]', { timeout: PATIENCE });
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('the gate shows what is wrong with its settings, also without a script', async () => {
  const page = await open('/admin/gate');
  await lookAt(page, 'gate');
  await page.fill('#toml', 'confidence = 95');
  await page.click('button[value=save]');
  await page.waitForSelector('#toml[aria-invalid=true]');
  assert.match(await page.textContent('#toml-error'), /must be 0\.5 to 0\.999; got 95/);
  assert.equal(await page.inputValue('#toml'), 'confidence = 95');
  await lookAt(page, 'gate-error');
  page.complaints = page.complaints.filter((text) => !text.includes('422'));
  assert.deepEqual(page.complaints, []);
  const state = await admin.storageState();
  await page.close();

  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: state });
  const still = await plain.newPage();
  await still.goto(`${server.url}/admin/gate`);
  await still.fill('#toml', 'confidence = 0.9');
  await still.click('button[value=save]');
  await still.waitForURL(/done=1/);
  await still.click('button[value=defaults]');
  await still.waitForURL(/done=1/);
  assert.match(await still.inputValue('#toml'), /confidence = 0\.95/);
  await still.goto(`${server.url}/admin/evaluations/compare`);
  assert.equal(await still.locator('.overlaid').count(), 0);
  assert.ok((await still.locator('[data-pair] img').count()) >= 4, 'images stand side by side');
  await plain.close();
});
