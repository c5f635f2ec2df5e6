// The admin pages, from the password to a version that is available in the studio.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { draw, drop, fill, generate, noSeriousProblems } from '../page.mjs';
import { Server, launchBrowser, openPage, screenshot } from '../studio.mjs';

const PASSWORD = 'four words of mine';
const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } };
/** Timeout of anything that waits for a training run. */
const PATIENCE = 240_000;

let server;
let browser;
let admin; // one context with a session, for all tests after the first
before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function openAdmin(path = '/admin') {
  const page = await admin.newPage();
  page.complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) page.complaints.push(message.text());
  });
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  await page.goto(server.url + path);
  return page;
}

async function closeWithoutComplaints(page) {
  assert.deepEqual(page.complaints, []);
  await page.close();
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

const files = async (page, count) => {
  const made = [];
  for (let i = 0; i < count; i++) {
    // Different pixels each: duplicates would get a warning.
    const buffer = await draw(page, { width: 128 + 16 * i, height: 128 });
    made.push({ name: `cloth-${i}.png`, mimeType: 'image/png', buffer });
  }
  return made;
};

// Fills in the form for a run of a few small steps.
async function train(page, { name, steps, every = 4, samples = every }) {
  await page.goto(`${server.url}/admin/training/new`);
  await page.fill('#field-name', name);
  await page.click('#advanced > summary');
  for (const [field, value] of Object.entries({
    steps,
    resolution: 64,
    accumulation: 1,
    rank: 2,
    alpha: 2,
    held_out: 0.3,
    sample_every: samples,
    checkpoint_every: every,
    sample_prompts: 'a cloth of circles',
  })) {
    await page.fill(`#field-${field}`, String(value));
  }
  await page.click('.save button');
  await page.waitForURL(/\/admin\/training\/[0-9a-f-]{36}$/);
}

const stateOf = (page) => page.getAttribute('#live', 'data-state');
const stepOf = async (page) => Number(await page.getAttribute('#live', 'data-step'));
const inState = (page, state) => page.waitForSelector(`#live[data-state=${state}]`, { timeout: PATIENCE });

test('without a password the printed link opens the pages; with one the sign-in page asks for it', async () => {
  const page = await openPage(browser, server);
  assert.equal(await page.isVisible('a[href="/admin"]'), false, 'visitors see no link');
  const closed = await page.goto(`${server.url}/admin`);
  assert.equal(closed.status(), 403, 'being on the same machine is not enough');
  await lookAt(page, 'by-link');
  page.complaints = page.complaints.filter((text) => !text.includes('403'));
  await page.fill('#field-token', server.adminLink());
  await page.click('button.primary');
  await page.waitForURL(/\/admin$/);
  assert.match(await page.textContent('main'), /No admin password is set/);
  await lookAt(page, 'first-time');
  await page.context().clearCookies();
  await page.goto(server.adminLink());
  await page.waitForURL(/\/admin$/);

  server.setPassword(PASSWORD);
  await page.goto(`${server.url}/admin/training`);
  await page.waitForURL(/\/admin\/sign-in\?next=/);
  await lookAt(page, 'sign-in');
  await page.fill('#field-password', 'not this one');
  await page.press('#field-password', 'Enter');
  assert.match(await page.textContent('[role=alert]'), /password/i);
  assert.equal(await page.inputValue('#field-password'), '');
  await noSeriousProblems(page);
  page.complaints = page.complaints.filter((text) => !text.includes('401'));

  await page.fill('#field-password', PASSWORD);
  await page.click('button.primary');
  await page.waitForURL(/\/admin\/training$/);
  admin = page.context();
  await lookAt(page, 'training-empty');
  await page.goto(server.url);
  assert.equal(await page.isVisible('a[href="/admin"]'), true);
  await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  assert.equal(await page.isVisible('a[href="/admin"]'), true, 'also after hydration');
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('upload, caption, train, watch, and generate with the new version', { timeout: 2 * PATIENCE }, async () => {
  const page = await openAdmin('/admin/datasets');
  await page.fill('#field-name', 'Circles');
  await page.fill('#field-trigger', 'in round style');
  await page.click('#new button');
  await page.waitForURL(/\/admin\/datasets\/[0-9a-f-]{36}$/);
  await lookAt(page, 'dataset-empty');

  // Chosen files, one of them not an image; then one that is dropped.
  const chosen = await files(page, 5);
  const odd = { name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('not an image') };
  const caption = { name: 'cloth-0.txt', mimeType: 'text/plain', buffer: Buffer.from('circles on cloth') };
  await Promise.all([
    page.waitForURL(/done=files/),
    page.setInputFiles('input[name=files] >> nth=0', [...chosen, odd, caption]),
  ]);
  assert.equal(await page.locator('.thumbs > li').count(), 5);
  assert.match(await page.textContent('.warnings'), /notes\.png/);
  assert.equal(await page.inputValue('.thumbs textarea >> nth=0'), 'circles on cloth');
  const [last] = await files(page, 6).then((all) => all.slice(5));
  await Promise.all([page.waitForNavigation(), drop(page, last.buffer, last.name, last.mimeType)]);
  assert.equal(await page.locator('.thumbs > li').count(), 6);
  const widths = await page.$$eval('.thumb img', async (images) => {
    await Promise.all(images.map((image) => ((image.loading = 'eager'), image.decode())));
    return images.map((image) => image.naturalWidth);
  });
  assert.ok(widths.every((width) => width > 0), `every thumbnail is loaded: ${widths}`);

  // A caption is saved when its field loses focus; bulk edits change all of them.
  await page.fill('.thumbs textarea >> nth=1', 'two discs');
  await page.press('.thumbs textarea >> nth=1', 'Tab');
  await page.waitForFunction(() => document.querySelector('[data-saved]')?.textContent === 'Saved.');
  await page.fill('.times input >> nth=1', '2');
  await page.press('.times input >> nth=1', 'Tab');
  await page.waitForFunction(() => document.querySelector('[data-saved]')?.textContent === 'Saved.');
  await page.fill('#field-prefix', 'old cloth, ');
  await page.click('form:has([value=prefix]) button');
  await page.waitForURL(/done=prefix/);
  assert.equal(await page.inputValue('.thumbs textarea >> nth=1'), 'old cloth, two discs');
  await page.fill('#field-find', 'discs');
  await page.fill('#field-with', 'circles');
  await page.click('form:has([value=replace]) button');
  await page.waitForURL(/done=replace/);
  assert.equal(await page.inputValue('.thumbs textarea >> nth=1'), 'old cloth, two circles');
  await lookAt(page, 'dataset');

  // An invalid field gets an error, and no input is lost.
  await page.click('.head-actions .primary');
  assert.equal(await page.inputValue('#field-name'), 'circles');
  await page.click('.preset >> nth=2');
  await page.waitForURL(/preset=thorough/);
  assert.equal(await page.inputValue('#field-rank'), '16');
  await page.click('#advanced > summary');
  await page.fill('#field-rank', '0');
  await page.fill('#field-note', 'A first try');
  await page.click('.save button');
  await page.waitForSelector('#field-rank[aria-invalid=true]');
  assert.match(await page.textContent('#field-rank-error'), /got 0/);
  assert.equal(await page.inputValue('#field-note'), 'A first try');
  assert.equal(await page.inputValue('#field-steps'), '2000');
  await lookAt(page, 'form-error');
  page.complaints = page.complaints.filter((text) => !text.includes('422'));

  await train(page, { name: 'circles', steps: 12 });
  const address = page.url();
  // The chart updates without a reload, and samples appear.
  const drawn = () => page.locator('.chart path.second, .chart path.main').first().getAttribute('d').catch(() => null);
  await page.waitForSelector('.chart path', { state: 'attached', timeout: PATIENCE });
  const before = await drawn();
  await page.evaluate(() => (window.stayed = true));
  await page.waitForFunction((before) => document.querySelector('.chart path.second, .chart path.main')?.getAttribute('d') !== before, before, {
    timeout: PATIENCE,
  });
  await lookAt(page, 'running');
  await inState(page, 'done');
  assert.equal(await page.evaluate(() => window.stayed), true, 'the page was not loaded again');
  assert.equal(await stepOf(page), 12);
  assert.match(await page.textContent('.made'), /circles v1 is ready/);
  const slider = page.locator('.scrub input').first();
  assert.equal(await slider.inputValue(), await slider.getAttribute('max'));
  await slider.fill('0');
  assert.match(await page.textContent('.scrub output'), /Step 4/);
  await lookAt(page, 'done');

  // The dataset is frozen from now on.
  await page.click('.lead a');
  assert.match(await page.textContent('main'), /Frozen/);
  assert.equal(await page.locator('.thumbs textarea').count(), 0);
  await lookAt(page, 'dataset-frozen');

  await page.goto(address);
  await page.click('.made .primary');
  await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  await fill(page, { prompt: 'a cloth of circles in round style' });
  await generate(page);
  const id = new URL(page.url()).searchParams.get('generation');
  const { body } = await server.api('GET', `generations/${id}`);
  assert.deepEqual(body.spec.adapters.map(({ name }) => name), ['circles@v1']);
  await closeWithoutComplaints(page);
});

test('cancel names the steps it discards, and takes effect', { timeout: PATIENCE }, async () => {
  const page = await openAdmin('/admin/training');
  await train(page, { name: 'never', steps: 5000, every: 1000 });
  await page.waitForFunction(() => Number(document.querySelector('#live').dataset.step) > 2, undefined, { timeout: PATIENCE });
  assert.match(await page.textContent('button.stop'), /Cancel and discard \d+ steps/);
  await page.click('button[value=pause]');
  await inState(page, 'paused');
  await page.click('button[value=resume]');
  await page.waitForSelector('#live:is([data-state=queued], [data-state=running])', { timeout: PATIENCE });
  await page.click('button.stop');
  await inState(page, 'cancelled');
  assert.equal(await page.locator('.choices button').count(), 0);
  await closeWithoutComplaints(page);
});

test('a sheet of checkpoints fills in while its run trains, and one click keeps a checkpoint', { timeout: 2 * PATIENCE }, async () => {
  const page = await openAdmin('/admin/training');
  await train(page, { name: 'sheet', steps: 2000, every: 4, samples: 0 });
  const run = page.url();
  await page.getByRole('button', { name: 'Compare in a sheet' }).click();
  await page.waitForURL(/\/admin\/sheets\/[0-9a-f-]{36}$/);
  // Its six checkpoints are hundreds of steps apart; one with the first step is made by the form.
  await page.getByRole('button', { name: 'Delete sheet, keep images' }).click();
  await page.waitForURL(/\/admin\/sheets$/);
  const axes = 'axis1=checkpoint&values1=4%0A2000&prompt=circles&steps=2&width=64&height=64&seed=7';
  await page.goto(`${server.url}/admin/sheets?run=${run.split('/').pop()}&${axes}`);
  await page.getByRole('button', { name: 'Create sheet' }).click();
  await page.waitForURL(/\/admin\/sheets\/[0-9a-f-]{36}$/);
  await page.waitForSelector('.sheet img', { timeout: PATIENCE });
  assert.equal(await page.locator('.sheet img').count(), 1, 'the other step is not saved yet');
  assert.equal(await page.getAttribute('#live', 'data-state'), 'running');
  await lookAt(page, 'sheet-of-checkpoints');
  await page.getByRole('button', { name: 'Make step 4 a version' }).click();
  await page.waitForURL(/\/admin\/versions\/sheet@v1$/);
  await page.goto(run);
  await page.click('button.stop');
  await inState(page, 'cancelled');
  await closeWithoutComplaints(page);
});

test('a killed server resumes the training run by itself', { timeout: 2 * PATIENCE }, async () => {
  let page = await openAdmin('/admin/training');
  await train(page, { name: 'tough', steps: 30, every: 4, samples: 0 });
  const address = page.url();
  await page.waitForFunction(() => Number(document.querySelector('#live').dataset.step) >= 6, undefined, { timeout: PATIENCE });
  await page.close(); // an open page would log errors while the server is down
  await server.kill('SIGKILL');
  await server.spawn();
  page = await openAdmin(new URL(address).pathname); // the session survives as well
  assert.ok(['queued', 'running', 'done'].includes(await stateOf(page)), await stateOf(page));
  assert.ok((await stepOf(page)) >= 4, 'it resumes from its checkpoint');
  await inState(page, 'done');
  assert.equal(await stepOf(page), 30);
  await closeWithoutComplaints(page);
});

test('lists, comparison, and signing out', async () => {
  const page = await openAdmin('/admin');
  await lookAt(page, 'overview');
  await page.goto(`${server.url}/admin/datasets`);
  await lookAt(page, 'datasets');
  await page.goto(`${server.url}/admin/training`);
  await lookAt(page, 'trainings');
  for (const nth of [0, 2]) await page.check(`input[name=run] >> nth=${nth}`);
  await page.click('.below button');
  assert.match(await page.textContent('main'), /Differences[\s\S]*Steps/);
  assert.ok((await page.locator('.chart path.run-2').count()) > 0, 'curves of both');
  await lookAt(page, 'compare');
  await page.click('text=Sign out');
  await page.waitForURL(/\/admin\/sign-in$/);
  await page.goto(`${server.url}/admin/training`);
  await page.waitForURL(/\/admin\/sign-in/);
  await closeWithoutComplaints(page);
});

test('the pages work without a script', async () => {
  const page = await openPage(browser, server, { javaScriptEnabled: false });
  await page.goto(`${server.url}/admin`);
  await page.fill('#field-password', PASSWORD);
  await page.click('button.primary');
  await page.goto(`${server.url}/admin/datasets`);
  await page.fill('#field-name', 'Plain');
  await page.click('#new button');
  await page.setInputFiles('input[name=files] >> nth=0', await (async () => {
    const scripted = await openPage(browser, server);
    const made = await files(scripted, 2);
    await scripted.context().close();
    return made;
  })());
  await page.click('.drop button');
  await page.waitForURL(/done=files/);
  assert.equal(await page.locator('.thumbs > li').count(), 2);
  await page.fill('.thumbs textarea >> nth=0', 'by hand');
  await page.click('.save button');
  await page.waitForURL(/done=captions/);
  assert.equal(await page.inputValue('.thumbs textarea >> nth=0'), 'by hand');
  await page.fill('.times input >> nth=0', '3');
  await page.click('.save button');
  await page.waitForURL(/done=captions/);
  assert.equal(await page.inputValue('.times input >> nth=0'), '3');
  await page.click('#delete > summary');
  await page.click('#delete button');
  await page.waitForURL(/done=deleted/);
  assert.equal(await page.locator('.card', { hasText: 'Plain' }).count(), 0);
  await page.context().close();
});
