// The studio page, on the starter model.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { STEPS, bytesOf, drop, fill, generate, imageWithoutScript, noSeriousProblems, sha256 } from '../page.mjs';
import { Server, launchBrowser, openPage, screenshot } from '../studio.mjs';

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test('generate: progress, then the image with its parameters, and a history', async () => {
  const page = await openPage(browser, server);
  await fill(page, { steps: '12' });
  await page.click('#generate');
  await page.waitForSelector('img.preview[src^="data:image/png"]');
  assert.match(await page.textContent('#status'), /Step \d+ of 12/);
  await page.waitForSelector('#canvas-image');
  const [width, height] = await page.$eval('#canvas-image', async (image) => {
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  });
  assert.deepEqual([width, height], [256, 256]);
  const png = await bytesOf(page);
  assert.match(png.toString('latin1'), /parameters\0large white stars on blue cloth ?<lora:adire@v2:1>\n/);
  assert.equal(page.url().includes('?generation='), true);
  assert.ok((await page.locator('.history img').count()) >= 1);
  await screenshot(page, 'done');
  await noSeriousProblems(page);

  // The history comes back with the visitor, and after a restart of the server.
  assert.deepEqual(page.complaints, []);
  await page.goto('about:blank'); // an open page would log errors while the server is down
  await server.kill();
  await server.spawn();
  await page.goto(server.url);
  await page.waitForSelector('.history img');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('cancel takes effect within a step', async () => {
  const page = await openPage(browser, server);
  await fill(page, { steps: '150' });
  await page.click('#generate');
  await page.waitForSelector('img.preview');
  const id = new URL(page.url()).searchParams.get('generation');
  await page.click('#cancel');
  await page.waitForSelector('#generate');
  const { body } = await server.api('GET', `generations/${id}`);
  assert.equal(body.state, 'cancelled');
  assert.deepEqual(body.images, []);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('adapter versions: v1, v2, none at one seed; none is the base byte for byte', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'a cloth of circles in adire style' });
  const version = page.getByLabel('Version of adire');
  await version.selectOption('');
  const base = await generate(page);
  const images = [];
  for (const choice of ['adire@v1', 'adire@v2']) {
    await version.selectOption(choice);
    images.push(await generate(page));
  }
  await version.selectOption('');
  const again = await generate(page);
  assert.equal(new Set([base, ...images].map(sha256)).size, 3, 'three different images');
  assert.equal(sha256(again), sha256(base));
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('a reload in the middle finds the generation again', async () => {
  const page = await openPage(browser, server);
  await fill(page, { steps: '60' });
  await page.click('#generate');
  await page.waitForSelector('img.preview');
  await page.goto(server.url); // even without the generation's address
  await page.waitForSelector('#cancel');
  await page.waitForSelector('#canvas-image', { timeout: 60_000 });
  assert.deepEqual(page.complaints.filter((text) => !text.includes('ERR_')), []);
  await page.context().close();
});

test('works as a plain form without a script', async () => {
  const page = await openPage(browser, server, { javaScriptEnabled: false });
  await page.fill('[name=prompt]', 'red moons on yellow cloth');
  await page.fill('[name=steps]', STEPS, { force: true }).catch(() => {});
  await page.click('#generate');
  await page.waitForURL(/\?generation=/);
  assert.match(await page.content(), /<noscript><meta http-equiv="refresh"|&lt;meta http-equiv="refresh"|id="canvas-image"/);
  await imageWithoutScript(page);
  await screenshot(page, 'no-script');
  // The page shows the error and keeps the typed values.
  await page.goto(server.url);
  await page.fill('[name=prompt]', 'kept words');
  await page.fill('[name=seed]', 'not a number');
  await page.click('#generate');
  assert.match(await page.textContent('body'), /seed/i);
  assert.equal(await page.inputValue('[name=prompt]'), 'kept words');
  assert.ok(await page.locator('[name=seed][aria-invalid=true]').count(), 'the invalid field is marked');
  await page.context().close();
});

test('dropping an image restores the form', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'green leaves on white cloth', seed: '4242', steps: '5' });
  const png = await generate(page);
  const fresh = await openPage(browser, server);
  await drop(fresh, png, 'image.png', 'image/png');
  await fresh.waitForFunction(() => document.querySelector('#field-prompt').value === 'green leaves on white cloth');
  assert.equal(await fresh.inputValue('#field-seed'), '4242');
  assert.equal(await fresh.locator('[name=steps]').inputValue(), '5');
  assert.deepEqual(fresh.complaints, []);
  await page.context().close();
  await fresh.context().close();
});

test('prompts: tokens are counted, a key changes the weight, undo reverts it', async () => {
  const page = await openPage(browser, server);
  const prompt = page.locator('#field-prompt');
  await prompt.fill('large white stars');
  await page.waitForFunction(() => /^[1-9]\d* \/ 75$/.test(document.querySelector('#tokens-prompt').textContent));
  await prompt.focus();
  await prompt.evaluate((field) => field.setSelectionRange(6, 11));
  await page.keyboard.press('Control+ArrowUp');
  assert.equal(await prompt.inputValue(), 'large (white:1.1) stars');
  await page.keyboard.press('Control+ArrowUp');
  assert.equal(await prompt.inputValue(), 'large (white:1.2) stars');
  await page.keyboard.press('Control+z');
  await page.keyboard.press('Control+z');
  assert.equal(await prompt.inputValue(), 'large white stars');
  await page.context().close();
});

test('a prompt that is too long gets an error and nothing is sent', async () => {
  const page = await openPage(browser, server);
  await page.fill('#field-prompt', 'x'.repeat(4001));
  await page.click('#generate');
  await page.waitForSelector('#field-prompt[aria-invalid=true]');
  await noSeriousProblems(page);
  await page.context().close();
});

test('what a queued generation waits for fits on a phone', async () => {
  const page = await openPage(browser, server, { viewport: { width: 390, height: 844 } });
  for (let i = 0; i < 2; i++) {
    const data = { prompt: 'large red moons on yellow cloth', steps: 40 };
    assert.equal((await page.request.post(`${server.url}/api/v1/generations`, { data })).status(), 202);
  }
  await page.locator('#field-prompt').fill('large white stars on blue cloth');
  await page.getByRole('button', { name: 'Generate' }).click();
  const status = page.locator('#status');
  await status.getByText('after 2 others of yours').waitFor();
  assert.ok(await status.evaluate((element) => element.getBoundingClientRect().right <= window.innerWidth));
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.context().close();
});

for (const viewport of [{ width: 390, height: 844 }, { width: 1280, height: 800 }, { width: 1280, height: 420 }]) {
  test(`an invalid field is shown with its error: ${viewport.width} × ${viewport.height}`, async () => {
    const page = await openPage(browser, server, { viewport });
    for (const field of ['seed', 'steps', 'guidance', 'clip_skip']) {
      const type = (value) =>
        page.$eval(`#field-${field}`, (input, value) => {
          input.value = value;
          input.dispatchEvent(new Event('input', { bubbles: true }));
        }, value);
      await type('absurd');
      await page.$eval('#generate', (button) => button.click());
      await page.waitForSelector(`#field-${field}[aria-invalid=true]:focus`);
      // Nothing covers the field or its message: not the button under the form, not the edge of the sheet.
      const hidden = await page.$eval(`#field-${field}`, (input) => {
        const message = document.getElementById(input.getAttribute('aria-describedby').split(' ')[0]);
        return [input, message].filter((element) => {
          const { left, top, height } = element.getBoundingClientRect();
          const front = document.elementFromPoint(left + 4, top + height / 2);
          return !(front && (element.contains(front) || front.contains(element)));
        }).map((element) => element.outerHTML.slice(0, 80));
      });
      assert.deepEqual(hidden, [], field);
      await type(field === 'seed' ? '' : '2');
    }
    await page.context().close();
  });
}

for (const [name, viewport] of Object.entries({ phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } })) {
  for (const colorScheme of ['light', 'dark']) {
    test(`no serious accessibility problem: ${name}, ${colorScheme}`, async () => {
      const page = await openPage(browser, server, { viewport, colorScheme });
      await screenshot(page, `empty-${name}-${colorScheme}`);
      await noSeriousProblems(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    });
  }
}
