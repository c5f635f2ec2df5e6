// Monitoring: an admin looks at figures of generations, over several periods and of one version.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { noSeriousProblems, signIn } from '../page.mjs';
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

test('an admin reads the figures of all generations and of one version', async () => {
  const prompts = ['a white star on blue cloth, adire', 'a white star on blue cloth, adire', 'red moons'];
  for (const [index, prompt] of prompts.entries()) {
    const adapters = index < 2 ? [{ name: 'adire@v1' }] : [];
    const { status, body } = await server.api('POST', 'generations', { prompt, seed: index, adapters });
    assert.equal(status, 202);
    const { id } = body;
    const deadline = Date.now() + 120_000;
    for (;;) {
      const found = await server.api('GET', `generations/${id}`);
      const record = found.body;
      if (record.state === 'done') break;
      assert.ok(Date.now() < deadline && record.state !== 'failed', JSON.stringify(record));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  const admin = await openPage(browser, server);
  await signIn(admin, server, PASSWORD, '/admin/monitoring');
  await admin.getByRole('heading', { name: 'Monitoring' }).waitFor();
  const figures = admin.locator('.figures > div');
  assert.equal(await figures.first().locator('strong').innerText(), '3');
  const versions = admin.getByRole('region', { name: 'Figures of versions' });
  await versions.getByRole('link', { name: 'No adapter' }).waitFor();
  const common = admin.getByRole('region', { name: 'Common prompts' }).locator('li').first();
  assert.match(await common.innerText(), /a white star on blue cloth, adire\s*2/);
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-monitoring');

  await admin.getByRole('link', { name: '7 days' }).click();
  await admin.getByText('All generations, last 7 days.').waitFor();
  await versions.getByRole('link', { name: 'adire@v1' }).click();
  await admin.getByText('Generations with adire@v1, last 7 days.').waitFor();
  assert.equal(await figures.first().locator('strong').innerText(), '2');
  await admin.getByRole('link', { name: 'Show all versions' }).click();
  await admin.getByText('All generations, last 7 days.').waitFor();

  await admin.setViewportSize({ width: 390, height: 844 });
  const overflow = await admin.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0);
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-monitoring-phone');

  // Programs need a token for /metrics; the admin's browser has the same text at an address of its own.
  const address = await admin.getByRole('link', { name: 'the same figures' }).getAttribute('href');
  assert.equal(address, '/admin/metrics');
  const metrics = await admin.evaluate(async (address) => (await fetch(address)).text(), address);
  assert.match(metrics, /^adire_generations_total\{version="adire@v1",outcome="done"\} 2/m);
  assert.equal((await fetch(`${server.url}/metrics`)).status, 401);
  // A text names no icon, so the browser asks for the one at the usual address.
  await admin.goto(server.url + address);
  const icon = await admin.evaluate(async () => {
    const image = new Image();
    image.src = '/favicon.ico';
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  });
  assert.deepEqual(icon, [48, 48]);
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});
