// A visitor's images: searched, selected, rated, reported, deleted; on a desktop, on a phone, and without JavaScript.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fill, generate, looksRight, noSeriousProblems } from '../page.mjs';
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

async function withImages() {
  const page = await openPage(browser, server, { reducedMotion: 'reduce' });
  for (const [prompt, seed] of [['large white stars on blue cloth', '7'], ['yellow moons on red cloth', '8'], ['small circles', '9']]) {
    await fill(page, { prompt, seed, steps: '2' });
    await generate(page);
  }
  return page;
}

test('images are found, selected with the keyboard, taken along and deleted', async () => {
  const page = await withImages();
  await page.getByRole('link', { name: 'History' }).click();
  await page.waitForURL(`${server.url}/history`);
  const images = page.getByRole('list', { name: 'Images' }).getByRole('listitem');
  assert.equal(await images.count(), 3);
  await noSeriousProblems(page);
  await page.emulateMedia({ colorScheme: 'dark' });
  await noSeriousProblems(page);
  await page.emulateMedia({ colorScheme: 'light' });
  await screenshot(page, 'history');

  await page.getByLabel('Words of the prompt').fill('cloth');
  await page.keyboard.press('Enter');
  await page.waitForURL(/q=cloth/);
  assert.equal(await images.count(), 2);
  await page.getByRole('button', { name: 'Add star: yellow moons' }).click();
  await page.waitForURL(/q=cloth/);
  assert.equal(await page.getByRole('button', { name: 'Remove star: yellow moons' }).getAttribute('aria-pressed'), 'true');
  await page.getByLabel('Starred only').check();
  await page.getByRole('button', { name: 'Search', exact: true }).click();
  await page.waitForURL(/starred=true/);
  assert.equal(await images.count(), 1);
  await page.getByRole('link', { name: 'Clear' }).click();

  await page.getByLabel('Select all on this page').focus();
  await page.keyboard.press('Space');
  assert.equal(await page.locator('.selected').innerText(), '3 selected');
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download zip' }).click();
  assert.equal((await download).suggestedFilename(), 'adire-images.zip');
  await page.getByLabel('Select: yellow moons').uncheck();
  assert.equal(await page.locator('.selected').innerText(), '2 selected');
  await page.getByRole('button', { name: 'Delete…' }).click();
  await page.getByRole('heading', { name: 'Delete 2 images?' }).waitFor();
  await noSeriousProblems(page);
  await page.getByRole('button', { name: 'Delete 2 images' }).click();
  await page.getByText('2 images deleted.').waitFor();
  assert.equal(await images.count(), 1);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('an image is rated beside the canvas, with a script and without', async () => {
  const page = await openPage(browser, server, { reducedMotion: 'reduce' });
  const pressed = (on, name, state) =>
    on.locator(`.canvas button[aria-label="${name}"][aria-pressed="${state}"]`).waitFor();
  await fill(page, { prompt: 'large white stars on blue cloth', seed: '7', steps: '2' });
  await generate(page);
  await pressed(page, 'Star', false);
  const kept = page.waitForResponse((answer) => answer.request().method() === 'PUT');
  await page.locator('.canvas').getByRole('button', { name: 'Star' }).press('Enter');
  await pressed(page, 'Star', true);
  // The button keeps the focus.
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Star');
  assert.equal((await kept).status(), 200);
  await looksRight(page, 'canvas-rated');
  await noSeriousProblems(page);
  await page.reload();
  await pressed(page, 'Star', true);

  await fill(page, { prompt: 'yellow moons on red cloth', seed: '8', steps: '2' });
  await generate(page);
  await pressed(page, 'Star', false);
  await page.goto(`${server.url}/history?starred=true`);
  await page.getByRole('link', { name: /large white stars/ }).click();
  await page.getByRole('link', { name: 'Open in studio' }).click();
  await pressed(page, 'Star', true);

  // A stranger with the link sees the image and does not rate it.
  const stranger = await openPage(browser, server);
  await stranger.goto(page.url());
  await stranger.waitForSelector('#canvas-image');
  assert.equal(await stranger.locator('.canvas .rate').count(), 0);
  await stranger.context().close();

  const plain = await openPage(browser, server, { javaScriptEnabled: false });
  await plain.context().clearCookies();
  await plain.context().addCookies(await page.context().cookies());
  await plain.goto(page.url());
  await pressed(plain, 'Star', true);
  await plain.locator('.canvas').getByRole('button', { name: 'Thumbs up' }).click();
  await plain.waitForURL(/\?generation=/);
  await pressed(plain, 'Thumbs up', true);
  await pressed(plain, 'Star', true);
  await plain.context().close();
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('an image is rated and reported without JavaScript, and the admin adds its prompt to the suite', async () => {
  const page = await withImages();
  const cookies = await page.context().cookies();
  const plain = await openPage(browser, server, { javaScriptEnabled: false });
  await plain.context().clearCookies();
  await plain.context().addCookies(cookies);
  await plain.goto(`${server.url}/history?q=moons`);
  await plain.getByRole('link', { name: /yellow moons/ }).click();
  await plain.getByRole('button', { name: 'Thumbs up' }).click();
  assert.equal(await plain.getByRole('button', { name: 'Thumbs up' }).getAttribute('aria-pressed'), 'true');
  await plain.locator('summary', { hasText: 'Report to the admin' }).click();
  await plain.fill('#reason', 'The moons are green.');
  await plain.getByRole('button', { name: 'Send report' }).click();
  await plain.getByText('Reported to the admin.').waitFor();
  // Once.
  await plain.reload();
  assert.equal(await plain.getByText('Reported to the admin.').count(), 0);
  await plain.context().close();

  await page.goto(`${server.url}/history?q=moons`);
  await page.getByRole('link', { name: /yellow moons/ }).click();
  await noSeriousProblems(page);
  await screenshot(page, 'history-image');
  await page.emulateMedia({ colorScheme: 'dark' });
  await noSeriousProblems(page);
  for (const address of [page.url(), `${server.url}/history`]) {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(address);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, `${address}: ${width} px wide`);
    await noSeriousProblems(page);
  }
  await screenshot(page, 'history-phone');
  assert.deepEqual(page.complaints, []);

  const admin = await openPage(browser, server, { reducedMotion: 'reduce' });
  await admin.goto(`${server.url}/admin/sign-in?next=/admin/images`);
  await admin.fill('#field-password', PASSWORD);
  await admin.press('#field-password', 'Enter');
  await admin.getByRole('link', { name: '1 report' }).click();
  await admin.getByText('“The moons are green.”').waitFor();
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-reports');
  await admin.getByRole('button', { name: 'Add prompt to suite' }).click();
  await admin.getByText('Prompt added to the suite.').waitFor();
  await admin.goto(`${server.url}/admin/suite`);
  assert.match(await admin.inputValue('#suite'), /yellow moons on red cloth/);
  await noSeriousProblems(admin);
  await admin.setViewportSize({ width: 390, height: 844 });
  await noSeriousProblems(admin);
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
  await page.context().close();
});
