// The first view of the studio; many adapters, small type, history navigation, seven tabs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import path from 'node:path';
import { fill, generate, noSeriousProblems } from '../page.mjs';
import { Server, launchBrowser, openPage, screenshot } from '../studio.mjs';

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 800 };

/** @type {Server} */
let server;
/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

// Whether an element is entirely on the screen and its centre is not covered.
async function isInSight(page, selector) {
  return page.locator(selector).first().evaluate((element) => {
    const box = element.getBoundingClientRect();
    const inside = box.height > 0 && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth;
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return inside && (top === element || element.contains(top));
  });
}

for (const [name, viewport] of Object.entries({ phone: PHONE, desk: DESK })) {
  test(`first sight: prompt, seed and the adapter's strength without scrolling, ${name}`, async () => {
    const page = await openPage(browser, server, { viewport, hasTouch: name === 'phone', isMobile: name === 'phone' });
    assert.ok(await isInSight(page, '#field-prompt'));
    if (name === 'phone') await page.getByRole('button', { name: 'Settings' }).click();
    assert.ok(await isInSight(page, '.strength input[type=range]'), 'the strength slider is in sight');
    assert.ok(await isInSight(page, '#field-seed'), 'the seed is in sight');
    assert.equal(await page.getByLabel('Version of adire').inputValue(), 'adire@v2');
    await screenshot(page, `first-${name}`);
    await noSeriousProblems(page);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });
}

test('the selected adapter is shown on the button and with the image; “None” stays', async () => {
  const page = await openPage(browser, server);
  assert.match(await page.textContent('#generate'), /with adire v2 × 1/);
  await fill(page, { prompt: 'white stars on blue cloth', steps: '3' });
  await generate(page);
  assert.match(await page.textContent('.chips'), /adire v2/);
  await page.getByLabel('Version of adire').selectOption('');
  assert.doesNotMatch(await page.textContent('#generate'), /with/);
  await generate(page);
  assert.doesNotMatch(await page.textContent('.chips'), /adire/);
  // The address of an image without an adapter keeps it off, without a script too.
  const again = await page.locator('.actions').getByText('Reuse all').getAttribute('href');
  assert.match(again, /adapter=none/);
  const plain = await openPage(browser, server, { javaScriptEnabled: false });
  assert.equal(await plain.getByLabel('Version of adire').inputValue(), 'adire@v2', 'chosen without a script');
  await plain.goto(server.url + again);
  assert.equal(await plain.getByLabel('Version of adire').inputValue(), '');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
  await plain.context().close();
});

test('a prompt with a trigger word: an example selects its adapter, a typed prompt offers it', async () => {
  const page = await openPage(browser, server);
  const version = page.getByLabel('Version of adire');
  await version.selectOption('');
  await page.fill('#field-prompt', 'a cloth of moons, In Adire Style');
  await page.click('#use-offered');
  assert.equal(await version.inputValue(), 'adire@v2');
  assert.equal(await page.locator('#use-offered').count(), 0);
  await version.selectOption('');
  await page.fill('#field-prompt', 'a cloth of moons, in adire styles');
  assert.equal(await page.locator('#use-offered').count(), 0, 'part of a word does not match');
  await page.locator('.examples a', { hasText: 'in adire style' }).first().click();
  assert.equal(await version.inputValue(), 'adire@v2');
  // A version that is already selected stays.
  await version.selectOption('adire@v1');
  await page.locator('.examples a', { hasText: 'in adire style' }).nth(1).click();
  assert.equal(await version.inputValue(), 'adire@v1');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('fields are at least 16 pixels on touch screens, however small the root is', async () => {
  const found = { studio: 0, admin: 0 };
  for (const address of ['/', '/admin', '/admin/datasets']) {
    const page = await openPage(browser, server, { viewport: PHONE, hasTouch: true, isMobile: true });
    await page.goto(server.url + address);
    await page.evaluate(() => document.documentElement.style.setProperty('font-size', '9px'));
    const fields = await page.$$eval('input:not([type=range], [type=hidden], [type=radio], [type=file]), select, textarea', (all) =>
      all.map((field) => [field.outerHTML.slice(0, 80), Number.parseFloat(getComputedStyle(field).fontSize)]),
    );
    found[address === '/' ? 'studio' : 'admin'] += fields.length;
    assert.deepEqual(fields.filter(([, size]) => Number(size) < 16), []);
    await page.context().close();
  }
  assert.ok(found.studio > 5 && found.admin > 0, JSON.stringify(found));
});

// Every field, with a value that is not its default.
const TYPED = {
  prompt: 'a “quoted” prompt & more\nin two lines',
  negative_prompt: 'blur',
  seed: '18446744073709551615',
  steps: '31',
  guidance: '6.5',
  'adapters[0][strength]': '0.35',
};

async function type(page) {
  await page.locator('summary', { hasText: 'Negative prompt' }).click();
  for (const [name, text] of Object.entries(TYPED)) await page.fill(`[name="${name}"]`, text);
  await page.getByLabel('Version of adire').selectOption('adire@v1');
  await page.locator('label.tile', { hasText: 'Wide' }).click();
  await page.selectOption('[name=count]', '2');
}

async function holds(page, when) {
  if (when !== 'without a script') await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  for (const [name, text] of Object.entries(TYPED)) {
    assert.equal(await page.inputValue(`[name="${name}"]`), text, `${name}, ${when}`);
  }
  assert.equal(await page.getByLabel('Version of adire').inputValue(), 'adire@v1', when);
  assert.equal(await page.inputValue('[name=count]'), '2', when);
  assert.ok(await page.locator('label.tile', { hasText: 'Wide' }).locator('input').isChecked(), when);
}

test('back, forward and reload keep every field, the seed too', async () => {
  const page = await openPage(browser, server);
  await type(page);
  await page.reload();
  await holds(page, 'reload');
  await page.click('.bar a[href="/adapters"]');
  await page.waitForURL(/\/adapters$/);
  await page.goBack();
  await holds(page, 'back');
  await page.goForward();
  await page.goBack();
  await holds(page, 'forward and back');
  await page.goto(`${server.url}/adapters/adire`);
  await page.click('.bar a[href="/"]');
  await holds(page, 'by a link to the studio');
  // Off is kept as well, and a row that is off keeps its strength.
  await page.getByLabel('Version of adire').selectOption('');
  await page.reload();
  await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  assert.equal(await page.getByLabel('Version of adire').inputValue(), '');
  assert.equal(await page.inputValue('[name="adapters[0][strength]"]'), '0.35');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('the fields survive a generation and a reload after it', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'red moons on yellow cloth', seed: '4242', steps: '3' });
  await generate(page);
  await page.fill('#field-prompt', 'something else');
  await page.reload();
  await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  assert.equal(await page.inputValue('#field-seed'), '4242');
  assert.equal(await page.inputValue('#field-prompt'), 'something else');
  assert.ok(page.url().includes('?generation='));
  await page.context().close();
});

test('without a script: the seed stays with its generation', async () => {
  const page = await openPage(browser, server, { javaScriptEnabled: false });
  await page.fill('[name=prompt]', 'red moons on yellow cloth');
  await page.fill('[name=seed]', '4242');
  await page.fill('[name=steps]', '3');
  await page.click('#generate');
  await page.waitForURL(/\?generation=/);
  assert.equal(await page.inputValue('[name=seed]'), '4242');
  await page.context().close();
});

test('seven tabs on a running generation: all load, all follow, Cancel works', async () => {
  const first = await openPage(browser, server);
  await fill(first, { steps: '150' });
  // One image may be ready before the last tab is.
  await first.selectOption('[name=count]', '4');
  await first.click('#generate');
  await first.waitForSelector('img.preview');
  const address = first.url();
  const tabs = [first];
  while (tabs.length < 7) {
    const tab = await first.context().newPage();
    await tab.goto(address);
    await tab.waitForSelector('html[data-hydrated]', { state: 'attached' });
    tabs.push(tab);
  }
  const step = async (tab) => Number((await tab.textContent('#status')).match(/Step (\d+)/)?.[1] ?? 0);
  for (const tab of tabs) {
    const before = await step(tab);
    await tab.waitForFunction(
      (before) => Number(document.querySelector('#status')?.textContent.match(/Step (\d+)/)?.[1] ?? 0) !== before,
      before,
    );
  }
  // Further tabs still load.
  const other = await first.context().newPage();
  await other.goto(`${server.url}/adapters`);
  await tabs[6].click('#cancel');
  await Promise.all(tabs.map((tab) => tab.waitForSelector('#generate')));
  assert.deepEqual(first.complaints, []);
  await first.context().close();
});

test('forty adapters: found by name, trigger word and version, by keyboard alone', async () => {
  const many = await Server.start();
  try {
    await many.kill();
    const [file, second] = ['v1', 'v2'].map((v) => path.join(process.env.ADIRE_MODEL, `adapters/adire-${v}.safetensors`));
    // The newest adapter is selected at the start and no longer offered.
    for (const version of [second, file]) many.adapter(version, 'weave-17', 'in the old way');
    for (let i = 0; i < 40; i++) if (i !== 17) many.adapter(file, `weave-${i}`, `weave ${i} pattern`);
    await many.spawn();
    for (const [name, viewport] of Object.entries({ phone: PHONE, desk: DESK })) {
      const page = await openPage(browser, many, { viewport });
      if (name === 'phone') await page.getByRole('button', { name: 'Settings' }).click();
      assert.equal(await page.locator('.adapter').count(), 1, 'one is selected at the start');
      assert.ok(await isInSight(page, '.strength input[type=range]'));
      assert.ok(await isInSight(page, '#field-seed'));
      const search = page.getByRole('combobox', { name: 'Add an adapter' });
      await search.focus();
      await page.keyboard.type('old way');
      await page.waitForFunction(() => document.querySelectorAll('[role=option]').length === 1);
      assert.match(await page.textContent('[role=option]'), /weave-17.*v2, v1/);
      await screenshot(page, `search-${name}`);
      await noSeriousProblems(page);
      await page.keyboard.press('Enter');
      assert.equal(await page.getByLabel('Version of weave-17').inputValue(), 'weave-17@v2');
      await page.keyboard.type('weave-3');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      const active = await search.getAttribute('aria-activedescendant');
      const wanted = await page.locator(`#${active} b`).textContent();
      assert.equal(await page.locator(`#${active}`).getAttribute('aria-selected'), 'true');
      await page.keyboard.press('Enter');
      await page.getByLabel(`Version of ${wanted}`).waitFor();
      await page.keyboard.type('nothing of the kind');
      await page.locator('.found [role=status]', { hasText: 'No matching adapter' }).waitFor();
      await page.keyboard.press('Escape');
      assert.equal(await search.getAttribute('aria-expanded'), 'false');
      if (name === 'desk') {
        await page.reload();
        await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
        assert.equal(await page.locator('.adapter').count(), 3);
        await page.fill('#field-prompt', 'moons, weave 9 pattern');
        await page.click('#use-offered');
        await page.getByLabel('Version of weave-9').waitFor();
      }
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    }
    const plain = await openPage(browser, many, { javaScriptEnabled: false });
    await plain.selectOption('select[aria-label="Add an adapter"]', 'weave-5');
    await plain.fill('[name=prompt]', 'moons');
    await plain.fill('[name=steps]', '2');
    await plain.click('#generate');
    await plain.waitForURL(/\?generation=/);
    await plain.getByLabel('Version of weave-5').waitFor();
    await plain.context().close();
  } finally {
    await many.stop();
  }
});
