// Sharing an image, a link to a version, and blind votes: what strangers and friends see, without JavaScript.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { imageWithoutScript, looksRight, noSeriousProblems, signIn } from '../page.mjs';
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

const open = () => openPage(browser, server, { javaScriptEnabled: false, reducedMotion: 'reduce' });

// axe needs scripts, which the page itself may do without.
async function strangerSees(address, name, cookies = []) {
  const page = await openPage(browser, server, { reducedMotion: 'reduce' });
  if (cookies.length) {
    await page.context().clearCookies();
    await page.context().addCookies(cookies);
  }
  await page.goto(address);
  await looksRight(page, name);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
}

test('a link to a version needs only a prompt, and its image is shared without it', async () => {
  const maker = await open();
  await maker.goto(`${server.url}/try/adire@v2`);
  await maker.getByLabel('Prompt').fill('a cloth of circles');
  await maker.getByRole('button', { name: 'Generate' }).click();
  await maker.waitForURL(/generation=/);
  const id = new URL(maker.url()).searchParams.get('generation');
  await imageWithoutScript(maker);
  const { body: generation } = await server.api('GET', `generations/${id}`);
  assert.match(generation.spec.prompt, /a cloth of circles/);
  assert.equal(generation.spec.adapters[0].name, 'adire@v2');

  await maker.goto(`${server.url}/history/${id}/0`);
  await maker.getByRole('button', { name: 'Share image' }).click();
  await maker.getByText('The image is shared without its prompt.').waitFor();
  const link = await maker.getByLabel('Anyone with this link sees the image:').inputValue();
  const stranger = await open();
  await stranger.goto(link);
  assert.ok(!(await stranger.content()).includes('circles'));
  assert.equal(await stranger.locator('.card-figure img').evaluate((image) => image.complete && image.naturalWidth > 0), true);
  assert.match(await stranger.locator('meta[property="og:image"]').getAttribute('content'), /^http.*image\.png$/);
  await strangerSees(link, 'shared');

  await maker.getByLabel('Share the prompt').check();
  await maker.getByRole('button', { name: 'Save' }).click();
  await stranger.reload();
  assert.match(await stranger.getByRole('heading', { level: 2 }).innerText(), /a cloth of circles/);
  await stranger.getByRole('link', { name: 'Make your own from this' }).click();
  assert.match(await stranger.inputValue('#field-prompt'), /a cloth of circles/);
  await strangerSees(`${server.url}/history/${id}/0`, 'shared-card', await maker.context().cookies());
  await strangerSees(`${server.url}/try/adire@v2`, 'try');

  await maker.getByRole('button', { name: 'Stop sharing' }).click();
  assert.equal((await stranger.goto(link)).status(), 404);
  await stranger.context().close();
  await maker.context().close();
});

test('an alias leads to its version, and both pages work before wasm is there', async () => {
  const admin = await openPage(browser, server);
  await signIn(admin, server, PASSWORD, '/admin/versions/adire@v1');
  await admin.fill('#alias', 'stable');
  await admin.getByRole('button', { name: 'Set alias' }).click();
  await admin.getByText('adire@stable', { exact: true }).waitFor();
  await admin.context().close();

  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  // wasm stays on its way.
  await page.route('**/*.wasm', () => {});
  await page.goto(`${server.url}/try/adire@stable`, { waitUntil: 'domcontentloaded' });
  assert.equal(await page.locator('html[data-hydrated]').count(), 0, 'before hydration');
  await page.getByLabel('Prompt').fill('a cloth of squares');
  await page.getByRole('button', { name: 'Generate' }).click();
  await page.waitForURL(/generation=/, { waitUntil: 'domcontentloaded' });
  const id = new URL(page.url()).searchParams.get('generation');
  await fetch(`${server.url}/api/v1/generations/${id}/events`).then((events) => events.text());
  const { body: generation } = await server.api('GET', `generations/${id}`);
  assert.equal(generation.spec.adapters[0].name, 'adire@v1');

  const address = `${server.url}/api/v1/generations/${id}/images/0/share`;
  const { page: shared } = await context.request.put(address, { data: { recipe: true } }).then((share) => share.json());
  await page.goto(server.url + shared, { waitUntil: 'domcontentloaded' });
  await page.getByRole('link', { name: 'Make your own from this' }).click({ noWaitAfter: true });
  await page.waitForURL(/prompt=/, { waitUntil: 'domcontentloaded' });
  assert.match(await page.inputValue('#field-prompt'), /a cloth of squares/);
  assert.equal(await page.locator('html[data-hydrated]').count(), 0, 'before hydration');
  await context.close();
});

test('friends vote with the keyboard, and the admin sees what they prefer', async () => {
  const admin = await openPage(browser, server, { reducedMotion: 'reduce' });
  await signIn(admin, server, PASSWORD, '/admin/evaluations');
  await admin.selectOption('#field-version', 'adire@v2');
  await admin.selectOption('#field-against', 'adire@v1');
  await admin.fill('#field-suite', "name = 'two'\nseeds = [7]\nprompts = ['stars, {trigger}', 'circles, {trigger}']");
  await admin.locator('#new').getByRole('button', { name: 'Evaluate version' }).click();
  await admin.waitForURL(/\/admin\/evaluations\/[0-9a-f-]{36}$/);
  await admin.waitForSelector('#live[data-state=done]', { timeout: 180_000 });
  await admin.reload();
  await admin.getByRole('button', { name: 'Ask people' }).click();
  const link = await admin.getByLabel('Link for voters').inputValue();
  await noSeriousProblems(admin);
  await screenshot(admin, 'admin-votes');
  await strangerSees(link, 'vote');

  const friend = await open();
  await friend.goto(link);
  assert.ok(!/adire@|v1|v2/.test(await friend.locator('main').innerHTML()));
  await friend.getByRole('button', { name: 'Left is better' }).focus();
  await friend.keyboard.press('Enter');
  await friend.getByText('1 vote of yours').waitFor();
  await friend.getByRole('button', { name: 'No difference' }).click();
  await friend.getByText('You have seen every pair. Thank you!').waitFor();
  await admin.reload();
  await admin.getByText(/Undecided: .*1 for neither/).waitFor();
  await admin.setViewportSize({ width: 390, height: 844 });
  const width = await admin.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `${width} px wide`);
  await noSeriousProblems(admin);
  await admin.getByRole('button', { name: 'End without a result' }).click();
  await friend.reload();
  await friend.getByText('The votes are counted.').waitFor();
  assert.deepEqual(admin.complaints, []);
  await friend.context().close();
  await admin.context().close();
});
