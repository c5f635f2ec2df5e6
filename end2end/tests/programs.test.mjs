// What the studio offers to programs: tokens, the form as code, and the prompt box on other sites' pages.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { fill, generate, looksRight, noSeriousProblems, signIn } from '../page.mjs';
import { Server, launchBrowser, openPage, screenshot } from '../studio.mjs';

const PASSWORD = 'four words of mine';

let server;
let browser;
let site;
let origin;
before(async () => {
  // Another site: a page with the script in it.
  site = createServer((_, response) => {
    const script = `<script src="${server.url}/embed.js" data-version="adire@v1" data-prompt="large white stars"></script>`;
    response.setHeader('content-type', 'text/html');
    response.end(`<!DOCTYPE html><html lang="en"><head><title>A blog</title></head><body><h1>A blog</h1>${script}</body></html>`);
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (site.address());
  origin = `http://localhost:${port}`;
  process.env.ADIRE_CORS = origin;
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
  server.setPassword(PASSWORD);
});
after(async () => {
  delete process.env.ADIRE_CORS;
  await browser?.close();
  await server?.stop();
  site?.close();
});

test('a token is created, shown once and revoked', async () => {
  const page = await openPage(browser, server, { reducedMotion: 'reduce' });
  await signIn(page, server, PASSWORD, '/admin/tokens');
  await page.getByRole('heading', { name: 'API tokens' }).waitFor();
  await page.getByLabel('Name').fill('chat');
  await page.getByLabel('Limit').fill('5/day');
  await page.getByRole('button', { name: 'Create token' }).click();
  const token = await page.locator('pre.code').innerText();
  assert.match(token, /^adire_[0-9a-f]{64}$/);
  await looksRight(page, 'tokens');
  const asked = { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } };
  const body = JSON.stringify({ prompt: 'stars', steps: 2, size: '64x64' });
  assert.equal((await fetch(`${server.url}/v1/images/generations`, { ...asked, body })).status, 200);

  await page.goto(`${server.url}/admin/tokens`);
  assert.ok(!(await page.content()).includes(token));
  assert.deepEqual(await page.locator('tr', { hasText: 'chat' }).locator('td.count').allInnerTexts(), ['1', '1']);
  await page.getByRole('button', { name: 'Revoke: chat' }).click();
  await page.getByText('Token revoked.').waitFor();
  assert.equal(await page.locator('tr', { hasText: 'chat' }).count(), 0);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('the request of an image is shown as code', async () => {
  const page = await openPage(browser, server, { reducedMotion: 'reduce' });
  await fill(page, { prompt: 'a star & "moons"', seed: '7', steps: '2' });
  await generate(page);
  await page.goto(`${server.url}/history`);
  await page.locator('a[href^="/history/"]').first().click();
  await page.getByRole('link', { name: 'Use it from code' }).click();
  await page.getByRole('heading', { name: 'Use it from code' }).waitFor();
  const pieces = await page.locator('pre').allInnerTexts();
  assert.equal(pieces.length, 7);
  for (const piece of pieces) assert.ok(piece.includes('a star &') && piece.includes('7'), piece);
  await looksRight(page, 'code');
  await page.getByRole('link', { name: 'Back to the studio' }).click();
  assert.equal(await page.inputValue('#field-prompt'), 'a star & "moons"');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('the prompt box works on a page of an allowed origin and on no other', async () => {
  const context = await browser.newContext({ viewport: { width: 700, height: 800 } });
  const page = await context.newPage();
  await page.goto(origin);
  const box = page.frameLocator('iframe');
  assert.equal(await box.getByLabel('Prompt').inputValue(), 'large white stars');
  await box.getByRole('button', { name: 'Generate' }).click();
  await box.getByText('Done').waitFor({ timeout: 60_000 });
  assert.ok(await box.locator('img').evaluate((image) => image.complete && image.naturalWidth > 0));
  const link = await box.getByRole('link', { name: 'Open in the studio' }).getAttribute('href');
  const { body: generation } = await server.api('GET', `generations/${new URL(link, server.url).searchParams.get('generation')}`);
  assert.equal(generation.spec.adapters[0].name, 'adire@v1');
  // The frame is as high as what is in it.
  const height = await page.locator('iframe').evaluate((frame) => frame.clientHeight);
  const content = await box.locator('body').evaluate((body) => body.scrollHeight);
  assert.ok(Math.abs(height - content) < 8, `${height} and ${content}`);
  await noSeriousProblems(page);
  await screenshot(page, 'embed');

  const other = await context.newPage();
  const complaints = [];
  other.on('console', (message) => complaints.push(message.text()));
  await other.goto(origin.replace('localhost', '127.0.0.1'));
  await assert.rejects(other.frameLocator('iframe').getByLabel('Prompt').inputValue({ timeout: 2000 }));
  assert.ok(complaints.some((text) => text.includes('frame-ancestors')), complaints.join());
  await context.close();
});
