// Deletion: a visitor deletes images, the admin hides versions and deletes images.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fill, generate, imageWithoutScript, noSeriousProblems, unfold } from '../page.mjs';
import { Server, launchBrowser, openPage, screenshot } from '../studio.mjs';

const PASSWORD = 'four words of mine';

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
  server.setPassword(PASSWORD);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const sourceOf = async (page) => new URL(await page.getAttribute('#canvas-image', 'src'), server.url).href;
const status = async (url) => (await fetch(url)).status;
const tiles = (page) => page.locator('.history .tile-link').count();

async function signedIn(path) {
  const page = await openPage(browser, server);
  await page.goto(`${server.url}/admin/sign-in?next=${path}`);
  await page.fill('#field-password', PASSWORD);
  await page.press('#field-password', 'Enter');
  await page.waitForURL(`${server.url}${path}`);
  return page;
}

test('an image is deleted with its prompt, and the previous one is shown', async () => {
  const page = await openPage(browser, server);
  await fill(page, { seed: '1' });
  await generate(page);
  const first = await sourceOf(page);
  await fill(page, { seed: '2' });
  await generate(page);
  const second = await sourceOf(page);
  assert.equal(await tiles(page), 2);
  // Folded, so that one stray tap cannot delete.
  assert.equal(await page.isVisible('#delete form[action$="/delete"] button'), false);
  await unfold(page, 'Delete');
  await screenshot(page, 'delete');
  await noSeriousProblems(page);
  await page.click('#delete form[action$="/delete"] button');
  await page.waitForFunction((gone) => document.querySelector('#canvas-image')?.src !== gone, second);
  assert.equal(await tiles(page), 1);
  assert.equal(await sourceOf(page), first);
  assert.deepEqual([await status(second), await status(first)], [404, 200]);
  await page.reload();
  await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  assert.equal(await tiles(page), 1);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('without a script, a plain form deletes all images of a visitor and none of others', async () => {
  const others = await openPage(browser, server);
  await fill(others, { seed: '5' });
  await generate(others);
  const theirs = await sourceOf(others);
  const page = await openPage(browser, server, { javaScriptEnabled: false });
  await page.fill('#field-prompt', 'small circles');
  await page.click('#generate');
  await page.waitForURL(/generation=/);
  const id = new URL(page.url()).searchParams.get('generation');
  await imageWithoutScript(page);
  const mine = await sourceOf(page);
  await page.locator('#delete > summary').click();
  await page.click('#delete form[action$="/delete_all"] button');
  await page.waitForURL(`${server.url}/`);
  assert.deepEqual([await status(mine), await status(theirs)], [404, 200]);
  assert.equal((await server.api('GET', `generations/${id}`)).status, 404);
  await page.context().close();
  await others.context().close();
});

test('the admin hides a version, shows it again, and deletes an image of a visitor', async () => {
  const admin = await signedIn('/admin/versions');
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-versions');
  const offered = async () => (await server.api('GET', 'adapters')).body.map(({ name, version }) => `${name}@v${version}`);
  const before = await offered();
  assert.ok(before.includes('adire@v2'));
  await admin.click('[aria-label="Hide: adire@v2"]');
  await admin.waitForSelector('[aria-label="Show: adire@v2"]');
  assert.deepEqual(await offered(), before.filter((id) => id !== 'adire@v2'));
  const visitor = await openPage(browser, server);
  assert.equal((await visitor.content()).includes('adire@v2'), false, 'visitors do not see it');
  await noSeriousProblems(visitor);
  await admin.click('[aria-label="Show: adire@v2"]');
  await admin.waitForSelector('[aria-label="Hide: adire@v2"]');
  assert.deepEqual(await offered(), before);

  await fill(visitor, { prompt: 'something unlawful', seed: '9' });
  await generate(visitor);
  const image = await sourceOf(visitor);
  await admin.goto(`${server.url}/admin/images`);
  const card = admin.locator('.card', { hasText: 'something unlawful' });
  await card.locator('summary').click();
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-images');
  await card.getByText('Delete prompt and images').click();
  await admin.waitForURL(/done=1/);
  assert.equal(await status(image), 404);
  await admin.goto(`${server.url}/admin/queue`);
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-queue');
  await admin.getByRole('button', { name: 'Pause new jobs' }).click();
  await admin.getByText('New generations, training runs, evaluations and pushes are refused.').waitFor();
  await noSeriousProblems(admin);
  await admin.getByRole('button', { name: 'Accept new jobs' }).click();
  await admin.getByRole('button', { name: 'Pause new jobs' }).waitFor();
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
  await visitor.context().close();
});
