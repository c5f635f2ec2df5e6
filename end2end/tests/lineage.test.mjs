// Lineage: the admin follows an image to its adapter version and back.
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

async function generated() {
  const { body } = await server.api('POST', 'generations', {
    prompt: 'a cloth of circles in adire style',
    steps: 4,
    adapters: [{ name: 'adire@v2', strength: 0.8 }],
  });
  // The stream of events ends with the generation.
  await fetch(`${server.url}${body.links.events}`).then((events) => events.text());
  return (await server.api('GET', `generations/${body.id}`)).body.images[0].hash;
}

test('an image leads to its version, which leads back', async () => {
  const hash = await generated();
  // Without JavaScript.
  const admin = await openPage(browser, server, { javaScriptEnabled: false });
  await admin.goto(`${server.url}/admin/sign-in?next=/admin/images`);
  await admin.fill('#field-password', PASSWORD);
  await admin.press('#field-password', 'Enter');
  await admin.waitForURL(`${server.url}/admin/images`);
  await admin.getByRole('link', { name: 'View lineage' }).first().click();
  await admin.waitForURL(`${server.url}/admin/images/${hash}`);
  const graph = admin.getByRole('region', { name: 'Lineage graph' });
  const nodes = graph.getByRole('listitem');
  assert.match(await nodes.first().innerText(), /Image/);
  assert.match(await nodes.nth(1).innerText(), /Generation/);
  assert.match(await nodes.nth(2).innerText(), /Adapter, strength 0.8[\s\S]*adire@v2/);

  // By keyboard.
  const version = graph.getByRole('link', { name: /adire@v2/ });
  await version.focus();
  await admin.keyboard.press('Enter');
  await admin.waitForURL(/\/admin\/versions\/adire@v2$/);
  const made = admin.getByRole('link', { name: /made with adire@v2/ });
  assert.equal(await made.getAttribute('href'), `/admin/images/${hash}`);
  await admin.context().close();
});

test('the graph is a list on a phone, and accessible', async () => {
  const hash = await generated();
  // Colours that are still changing would be measured.
  const admin = await openPage(browser, server, { reducedMotion: 'reduce' });
  await admin.goto(`${server.url}/admin/sign-in?next=/admin/images/${hash}`);
  await admin.fill('#field-password', PASSWORD);
  await admin.press('#field-password', 'Enter');
  await admin.waitForURL(`${server.url}/admin/images/${hash}`);
  const lefts = () => admin.locator('.lineage > ol > li').evaluateAll((all) => all.map((li) => li.getBoundingClientRect().left));
  // One column for the image, the generation, and what it was made from.
  assert.ok(new Set(await lefts()).size >= 3);
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-image');
  await admin.emulateMedia({ colorScheme: 'dark' });
  await noSeriousProblems(admin);
  await admin.setViewportSize({ width: 390, height: 844 });
  assert.equal(new Set(await lefts()).size, 1);
  const width = await admin.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `${width} px wide`);
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-image-phone');
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});
