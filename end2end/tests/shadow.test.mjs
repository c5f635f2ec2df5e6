// Shadow rendering: the admin switches a candidate's shadow on, a production generation is rendered again, and the page
// shows the pair.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
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

test('a candidate renders a production generation again, and the admin sees the pair', async () => {
  const admin = await openPage(browser, server);
  const address = `${server.url}/admin/versions/adire@v2`;
  await admin.goto(`${server.url}/admin/sign-in?next=/admin/versions/adire@v2`);
  await admin.fill('#field-password', PASSWORD);
  await admin.press('#field-password', 'Enter');
  await admin.waitForURL(address);
  const section = admin.getByRole('region', { name: 'Shadow' });
  await section.getByText('Nothing is in production to compare it with.').waitFor();

  await admin.goto(`${server.url}/admin/versions/adire@v1`);
  await admin.getByLabel('Reason').fill('the first one');
  await admin.getByLabel('Promote without a passing verdict').check();
  await admin.getByRole('button', { name: 'Promote: adire@v1' }).click();
  await admin.getByRole('region', { name: 'Version' }).getByText('Production').waitFor();

  await admin.goto(address);
  await section.getByLabel('Every k-th generation').fill('1');
  await section.getByLabel('Pairs at most').fill('20');
  await section.getByRole('button', { name: 'Switch shadow on' }).click();
  await section.getByText('0 of 20 pairs, from 0 production generations.').waitFor();
  await noSeriousProblems(admin);

  const request = {
    prompt: 'a white star on blue cloth, adire',
    seed: 5,
    adapters: [{ name: 'adire@production' }],
  };
  const { status } = await server.api('POST', 'generations', request);
  assert.equal(status, 202);
  await section.getByText('Prompt adherence: 0 better, 0 worse; e = 1; undecided.').waitFor();
  const images = section.locator('.pairs img');
  const deadline = Date.now() + 120_000;
  while ((await images.count()) < 2 && Date.now() < deadline) await admin.reload();
  await section.getByText('1 of 20 pairs, from 1 production generation.').waitFor();
  assert.deepEqual(await section.locator('.pairs b').allInnerTexts(), ['adire@v1', 'adire@v2']);
  for (const image of await images.all()) {
    await image.scrollIntoViewIfNeeded();
    const url = await image.getAttribute('src');
    assert.equal((await admin.request.get(`${server.url}${url}`)).headers()['content-type'], 'image/png');
  }
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-shadow');
  await admin.setViewportSize({ width: 390, height: 844 });
  const overflow = await admin.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0);
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-shadow-phone');

  // The visitor's list has one image: the shadow's is not among them.
  await section.getByRole('button', { name: 'Switch shadow off' }).click();
  await section.getByText('It was switched off.').waitFor();
  await section.getByRole('button', { name: 'Switch shadow on' }).waitFor();
  await admin.goto(`${server.url}/admin/images`);
  assert.equal(await admin.locator('main img').count(), 1);
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});
