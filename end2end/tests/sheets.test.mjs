// Sheets: an admin fills a form, and the grid fills in by itself; a cell opens its image or its settings.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { noSeriousProblems, signIn } from '../page.mjs';
import { Server, launchBrowser, openPage, screenshot } from '../studio.mjs';

const PASSWORD = 'four words of mine';
const PATIENCE = 180_000;

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

test('a sheet fills in while its page is open', async () => {
  const admin = await openPage(browser, server);
  await signIn(admin, server, PASSWORD, '/admin/sheets');
  await admin.getByText('No sheets yet.').waitFor();
  await noSeriousProblems(admin);
  await admin.getByLabel('Prompt', { exact: true }).fill('a white star on blue cloth, adire');
  await admin.getByLabel('Steps', { exact: true }).fill('4');
  await admin.getByLabel('Seed', { exact: true }).fill('7');
  await admin.getByLabel('Columns: values').fill('none\nadire@v1');
  await admin.getByLabel('Rows: values').fill('0.5, 1');
  await admin.getByRole('button', { name: 'Create sheet' }).click();
  await admin.waitForURL(/\/admin\/sheets\/[0-9a-f-]+$/);
  assert.equal(await admin.locator('.sheet td').count() - 1, 4);
  await admin.waitForSelector('#live[data-state=done]', { timeout: PATIENCE });
  assert.equal(await admin.locator('.sheet img').count(), 4);
  await admin.getByText('4 images, all done.').waitFor();
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-sheet');

  const file = await admin.request.get(`${admin.url()}/sheet.png`);
  assert.equal(file.headers()['content-type'], 'image/png');
  const sheet = admin.url();
  await admin.setViewportSize({ width: 390, height: 844 });
  const overflow = await admin.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0);
  await screenshot(admin, 'admin-sheet-phone');
  await admin.setViewportSize({ width: 1280, height: 900 });

  await admin.locator('.sheet a:has(img)').last().click();
  await admin.waitForURL(/\/admin\/images\//);
  await admin.goto(sheet);
  await admin.getByRole('link', { name: 'Use settings: adire@v1, 1', exact: true }).click();
  await admin.waitForURL(/\/\?/);
  assert.equal(await admin.locator('textarea').first().inputValue(), 'a white star on blue cloth, adire');
});
