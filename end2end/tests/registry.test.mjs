// The registry: the admin promotes versions, rolls back, and reads the ledger.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { noSeriousProblems } from '../page.mjs';
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

const row = (page, id) => page.locator('tr', { has: page.locator(`th a:text-is("${id}")`) });

const inProduction = async () => {
  const { body } = await server.api('GET', 'adapters');
  return body.filter(({ stage }) => stage === 'production').map(({ name, version }) => `${name}@v${version}`);
};

async function change(page, id, button, reason) {
  const of = row(page, id);
  await of.locator('summary', { hasText: 'Change stage' }).click();
  await of.getByLabel('Reason').fill(reason);
  const force = of.getByLabel('Promote without a passing verdict');
  if (button === 'Promote') await force.check();
  await of.getByRole('button', { name: `${button}: ${id}` }).click();
  await page.waitForURL(/\/admin\/versions$/);
}

test('the admin promotes two versions, rolls back, and the ledger tells', async () => {
  const admin = await openPage(browser, server);
  await admin.goto(`${server.url}/admin/sign-in?next=/admin/versions`);
  await admin.fill('#field-password', PASSWORD);
  await admin.press('#field-password', 'Enter');
  await admin.waitForURL(`${server.url}/admin/versions`);
  assert.deepEqual(await inProduction(), []);
  await change(admin, 'adire@v1', 'Promote', 'the first one');
  await row(admin, 'adire@v1').locator('.badge.running', { hasText: 'Production' }).waitFor();
  await change(admin, 'adire@v2', 'Promote', 'denser dots');
  await row(admin, 'adire@v2').locator('.badge.running', { hasText: 'Production' }).waitFor();
  assert.deepEqual(await inProduction(), ['adire@v2']);
  await row(admin, 'adire@v2').locator('summary', { hasText: 'Change stage' }).click();
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-versions-stages');
  await row(admin, 'adire@v2').locator('summary', { hasText: 'Change stage' }).click();
  await change(admin, 'adire@v2', 'Roll adire back to v1', 'smudges');
  assert.deepEqual(await inProduction(), ['adire@v1']);

  // A first visit starts with the version in production.
  const visitor = await openPage(browser, server);
  assert.equal(await visitor.getByLabel('Version of adire').inputValue(), 'adire@v1');
  await visitor.context().close();

  // The version in production stays visible.
  await admin.click('[aria-label="Hide: adire@v1"]');
  await admin.locator('.flash', { hasText: 'adire@v1 is in production' }).waitFor();
  // The browser reports the status 409 of that answer, and nothing else.
  assert.equal(admin.complaints.splice(0).every((text) => text.includes('409')), true);

  await admin.goto(`${server.url}/admin/versions`);
  await admin.click('th a:text-is("adire@v1")');
  await admin.waitForURL(/\/admin\/versions\/adire@v1$/);
  await admin.fill('#alias', 'stable');
  await admin.getByRole('button', { name: 'Set alias' }).click();
  await admin.getByText('adire@stable', { exact: true }).waitFor();
  const rows = admin.locator('[aria-label="Rows of the ledger"] tbody tr');
  assert.equal(await rows.count(), 4);
  assert.match(await rows.nth(1).innerText(), /Rolled back from v2 to v1[\s\S]*smudges[\s\S]*Equal/);
  await admin.getByText('4 rows, all as written').waitFor();
  await admin.fill('#note', 'denser dots');
  await admin.getByRole('button', { name: 'Save note' }).click();
  // An alias is as good a name for the page, and a time has an address.
  await admin.goto(`${server.url}/admin/versions/adire@production`);
  assert.equal(await admin.locator('h1').innerText(), 'adire@v1');
  assert.equal(await admin.inputValue('#note'), 'denser dots');
  await admin.fill('#at', '2099-01-01T12:00:00');
  await admin.getByRole('button', { name: 'Show version' }).click();
  await admin.waitForURL(/at=2099-01-01T12/);
  await admin.getByText('At 2099-01-01 12:00:00 UTC').waitFor();
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-version');
  await admin.setViewportSize({ width: 390, height: 844 });
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-version-phone');
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});

test('the admin adds a file, and the studio offers it at once', async () => {
  const admin = await openPage(browser, server);
  await admin.goto(`${server.url}/admin/sign-in?next=/admin/versions`);
  await admin.fill('#field-password', PASSWORD);
  await admin.press('#field-password', 'Enter');
  await admin.waitForURL(`${server.url}/admin/versions`);
  await admin.getByRole('link', { name: 'Add adapter' }).click();
  await admin.fill('#field-name', 'found');
  await admin.fill('#field-trigger', 'in found style');
  const text = { name: 'a.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from('text') };
  await admin.setInputFiles('#field-file', text);
  await admin.getByRole('button', { name: 'Add adapter' }).click();
  await admin.locator('#field-file-error').waitFor();
  assert.equal(await admin.inputValue('#field-trigger'), 'in found style');
  // The browser reports the status 422 of that answer, and nothing else.
  assert.equal(admin.complaints.splice(0).every((complaint) => complaint.includes('422')), true);
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-versions-add');

  const file = new URL('../../models/starter/adapters/adire-v1.safetensors', import.meta.url);
  await admin.setInputFiles('#field-file', fileURLToPath(file));
  await admin.getByRole('button', { name: 'Add adapter' }).click();
  await admin.locator('.flash', { hasText: 'found@v1 added' }).waitFor();
  await row(admin, 'found@v1').waitFor();
  assert.deepEqual(admin.complaints, []);
  const visitor = await openPage(browser, server);
  await visitor.getByLabel('Version of found').waitFor({ state: 'attached' });
  await visitor.context().close();
  await admin.context().close();
});
