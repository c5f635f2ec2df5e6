// img2img, inpainting and hires fix; and the pages about adapters.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { draw, drop, fill, generate, noSeriousProblems, pixels, unfold } from '../page.mjs';
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

// Uploads an init image and waits for its thumbnail.
async function start(page, bytes) {
  await unfold(page, 'Init image');
  await page.setInputFiles('#field-init_image', { name: 'start.png', mimeType: 'image/png', buffer: bytes });
  await page.waitForFunction(() => document.querySelector('#init-image')?.naturalWidth > 0);
}

const specOf = async (page) => {
  const id = new URL(page.url()).searchParams.get('generation');
  return (await server.api('GET', `generations/${id}`)).body.spec;
};

test('img2img: an init image is uploaded, shown, used and remembered', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'large white stars on blue cloth' });
  await start(page, await draw(page, { width: 256, height: 320 }));
  assert.equal(await page.inputValue('[name=size]:checked'), '256x320', 'the size is the init image’s');
  await screenshot(page, 'start-desk-light');
  await noSeriousProblems(page);

  // A reload restores it before anything was generated.
  await page.reload();
  await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  await page.waitForFunction(() => document.querySelector('#init-image')?.naturalWidth > 0);
  await page.fill('#field-denoising_strength', '0.5');
  await generate(page);
  const spec = await specOf(page);
  assert.match(spec.init_image, /^[0-9a-f]{64}$/);
  assert.deepEqual([spec.width, spec.height, spec.denoising_strength, spec.mask], [256, 320, 0.5, undefined]);
  assert.match(await page.textContent('.chips'), /Init image\s*img2img, 0\.5/);
  await unfold(page, 'Recipe');
  const recipe = await page.textContent('.recipe');
  for (const words of [spec.init_image, 'Fingerprint', 'Adapter switch', ' ms']) {
    assert.ok(recipe.includes(words), `the recipe lacks ${words}: ${recipe}`);
  }
  await screenshot(page, 'start-done-desk-light');
  await noSeriousProblems(page);

  await page.click('#remove-image');
  assert.equal(await page.locator('#init-image').count(), 0);
  assert.equal(await page.inputValue('.start [name=init_image]'), '');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('inpainting: a mask painted with the mouse; the unmasked area stays bit-identical', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'large white stars on red cloth', seed: '11' });
  const before = await draw(page);
  await start(page, before);
  await page.click('#paint-mask');
  const canvas = page.locator('.mask-paint');
  await canvas.waitFor();
  const box = await canvas.boundingBox();
  const stroke = async (x, y, to) => {
    await page.mouse.move(box.x + x * box.width, box.y + y * box.height);
    await page.mouse.down();
    await page.mouse.move(box.x + to * box.width, box.y + y * box.height, { steps: 8 });
    await page.mouse.up();
  };
  await page.getByLabel('Brush size').fill('30');
  await stroke(0.1, 0.2, 0.9); // undone below
  await stroke(0.6, 0.75, 0.9);
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByRole('button', { name: 'Clear' }).click();
  await stroke(0.6, 0.75, 0.9);
  await screenshot(page, 'mask-desk-light');
  await noSeriousProblems(page);
  await page.click('.mask-save');
  await page.waitForFunction(() => /^[0-9a-f]{64}$/.test(document.querySelector('.start [name=mask]').value));
  await page.waitForSelector('.veil');
  await page.fill('#field-denoising_strength', '1');
  await screenshot(page, 'masked-desk-light');
  await noSeriousProblems(page);
  const after = await pixels(page, await generate(page));
  const first = await pixels(page, before);
  const spec = await specOf(page);
  assert.deepEqual([spec.keep_unmasked, spec.denoising_strength], [true, 1]);
  let changed = 0;
  for (let x = 0; x < 256; x += 3) {
    for (let y = 0; y < 256; y += 3) {
      const same = first.at(x, y).every((value, i) => value === after.at(x, y)[i]);
      if (y < 140) assert.ok(same, `the pixel at ${x}, ${y} was not painted over and changed`);
      changed += same ? 0 : 1;
    }
  }
  assert.ok(changed > 500, `only ${changed} pixels changed`);
  assert.deepEqual(page.complaints, []);

  // The editor opens with the painted mask; an empty painting removes it.
  await page.click('#paint-mask');
  await canvas.waitFor();
  await page.keyboard.press('Delete');
  await page.keyboard.press('Control+Enter');
  await page.waitForFunction(() => document.querySelector('.start [name=mask]').value === '');
  assert.equal(await page.locator('.veil').count(), 0);
  await page.context().close();
});

test('a mask is uploaded as a file; unsupported and large files get an error', async () => {
  const page = await openPage(browser, server);
  await fill(page);
  await unfold(page, 'Init image');
  const choose = (name, buffer) => page.setInputFiles('#field-init_image', { name, mimeType: 'image/png', buffer });
  await choose('notes.png', Buffer.from('not an image'));
  await page.waitForSelector('#field-init_image-problem');
  assert.match(await page.textContent('#field-init_image-problem'), /Unsupported file\. Use PNG, JPEG or WebP/);
  await noSeriousProblems(page);
  await choose('huge.png', Buffer.alloc(21 << 20));
  await page.waitForFunction(() => document.querySelector('#field-init_image-problem')?.textContent.includes('20 MiB'));
  await start(page, await draw(page));
  assert.equal(await page.locator('#field-init_image-problem').count(), 0);
  const mask = await draw(page, { width: 64, height: 32, halves: true });
  await page.setInputFiles('#field-mask', { name: 'mask.png', mimeType: 'image/png', buffer: mask });
  await page.waitForSelector('.veil');
  assert.match(await page.textContent('.notice'), /aspect ratio/);
  await generate(page);
  assert.match((await specOf(page)).mask, /^[0-9a-f]{64}$/);
  await page.context().close();
});

test('a generated image becomes the init image, from the canvas and from the strip', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'green leaves on white cloth' });
  await generate(page);
  const made = (await page.getAttribute('#canvas-image', 'src')).match(/[0-9a-f]{64}/)[0];
  await page.locator('.actions').getByText('Send to img2img').click();
  await page.waitForFunction(() => document.querySelector('#init-image')?.naturalWidth > 0);
  assert.equal(await page.inputValue('.start [name=init_image]'), made);
  assert.equal(await page.inputValue('#field-seed'), '');
  await page.fill('#field-denoising_strength', '0.6');
  await generate(page);
  // The values stay after the button that set them is gone.
  assert.equal((await specOf(page)).init_image, made);
  const second = (await page.getAttribute('#canvas-image', 'src')).match(/[0-9a-f]{64}/)[0];
  assert.notEqual(second, made);
  const tile = page.locator('#history li').first();
  await tile.hover();
  await tile.locator('.tile-onwards').click();
  await page.waitForFunction(
    (hash) => document.querySelector('.start [name=init_image]').value === hash,
    second,
  );
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('hires fix: the hires pass makes a larger image', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'white stars on blue cloth', steps: '4' });
  await unfold(page, 'Hires fix');
  await page.selectOption('#field-hires', 'latent');
  await page.fill('#field-hires_scale', '1.5');
  await page.fill('#field-hires_steps', '3');
  await screenshot(page, 'hires-desk-light');
  await noSeriousProblems(page);
  const made = await pixels(page, await generate(page));
  assert.deepEqual([made.width, made.height], [384, 384]);
  assert.match(await page.textContent('.chips'), /Hires fix\s*384 × 384/);
  await page.fill('#field-hires_scale', 'huge');
  await page.click('#generate');
  await page.waitForSelector('#field-hires_scale[aria-invalid=true]');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('a dropped image loads its parameters and is offered as init image, or its purpose is asked', async () => {
  const page = await openPage(browser, server);
  await fill(page, { prompt: 'red moons on yellow cloth', seed: '4242' });
  const png = await generate(page);
  const fresh = await openPage(browser, server);
  await drop(fresh, png, 'made.png', 'image/png');
  await fresh.waitForSelector('#start-from-it');
  assert.equal(await fresh.inputValue('#field-prompt'), 'red moons on yellow cloth');
  assert.equal(await fresh.locator('#init-image').count(), 0);
  await screenshot(fresh, 'offer-desk-light');
  await noSeriousProblems(fresh);
  await fresh.click('#start-from-it');
  await fresh.waitForFunction(() => document.querySelector('#init-image')?.naturalWidth > 0);
  await fresh.click('#remove-image');
  // For an image without parameters the purpose is asked; the form is unchanged until the answer.
  const photo = await draw(fresh, { type: 'image/jpeg' });
  const ask = async (bytes, name, type) => {
    await drop(fresh, bytes, name, type);
    await fresh.waitForSelector('#purpose[open]');
  };
  await ask(photo, 'photo.jpg', 'image/jpeg');
  const dialog = fresh.getByRole('dialog', { name: 'What is this image for?' });
  assert.match(await dialog.textContent(), /photo\.jpg.*no generation parameters/);
  assert.equal(await fresh.locator('#use-as-mask').isVisible(), false, 'a mask needs an init image');
  assert.equal(await fresh.evaluate(() => document.activeElement.id), 'use-as-init-image');
  await screenshot(fresh, 'purpose-desk-light');
  await noSeriousProblems(fresh);
  await fresh.keyboard.press('Escape');
  await fresh.waitForSelector('#purpose:not([open])', { state: 'attached' });
  assert.equal(await fresh.locator('#init-image').count(), 0, 'Escape starts nothing');
  await ask(photo, 'photo.jpg', 'image/jpeg');
  await fresh.keyboard.press('Tab');
  await fresh.keyboard.press('Enter');
  assert.equal(await fresh.locator('#init-image').count(), 0, 'Cancel starts nothing');
  assert.equal(await fresh.inputValue('.start [name=init_image]'), '');
  await ask(photo, 'photo.jpg', 'image/jpeg');
  await fresh.keyboard.press('Enter');
  await fresh.waitForFunction(() => document.querySelector('#init-image')?.naturalWidth > 0);
  await ask(await draw(fresh, { halves: true }), 'mask.png', 'image/png');
  await fresh.click('#use-as-mask');
  await fresh.waitForSelector('.veil');
  // Ignored parameters are named.
  const odd = await readFile(new URL('../../crates/studio/tests/infotext/22-ensd.png', import.meta.url));
  await drop(fresh, odd, 'odd.png', 'image/png');
  await fresh.waitForFunction(() => document.querySelector('.notice')?.textContent.includes('ENSD: 31337'));
  assert.match(await fresh.textContent('.notice'), /Loaded the parameters from odd\.png\..*Ignored: ENSD: 31337/s);
  const far = await readFile(new URL('../../crates/studio/tests/infotext/09-seed-64-bit.png', import.meta.url));
  await drop(fresh, far, 'far.png', 'image/png');
  await fresh.waitForFunction(() => document.querySelector('.notice')?.textContent.includes('6687881544318117707'));
  // The API responds with 422 to an image without parameters.
  assert.deepEqual(fresh.complaints.filter((text) => !text.includes('422')), []);
  await page.context().close();
  await fresh.context().close();
});

test('an init image and a mask work as a plain form without a script', async () => {
  const scripted = await openPage(browser, server);
  const [image, mask] = [await draw(scripted), await draw(scripted, { halves: true })];
  await scripted.context().close();
  const page = await openPage(browser, server, { javaScriptEnabled: false });
  await page.fill('[name=prompt]', 'white stars on blue cloth');
  await page.fill('[name=steps]', '4');
  await page.locator('summary', { hasText: 'Init image' }).click();
  await page.setInputFiles('[name=init_image_file]', { name: 'a.png', mimeType: 'image/png', buffer: image });
  await page.setInputFiles('[name=mask_file]', { name: 'b.png', mimeType: 'image/png', buffer: mask });
  await screenshot(page, 'start-no-script');
  await page.click('#generate');
  await page.waitForURL(/\?generation=/);
  const spec = await specOf(page);
  assert.match(spec.init_image, /^[0-9a-f]{64}$/);
  assert.match(spec.mask, /^[0-9a-f]{64}$/);
  await page.context().close();
});

test('the adapter pages show the file and its receipt, and open the studio with it', async () => {
  const page = await openPage(browser, server);
  await page.locator('.adapter-name').first().click();
  await page.waitForURL(/\/adapters\/adire/);
  await page.waitForSelector('.bars tbody tr');
  const text = await page.textContent('main');
  for (const words of ['sha256', 'Effective scale', 'layers of the UNet', 'down_blocks.1']) {
    assert.ok(text.includes(words), `the page lacks ${words}`);
  }
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByText('Download').click()]);
  assert.match(download.suggestedFilename(), /^adire-v\d+\.safetensors$/);
  await noSeriousProblems(page);
  await page.getByRole('link', { name: 'v1', exact: true }).click();
  await page.waitForURL(/adire@v1/);
  await page.locator('.paper-head .primary').click();
  await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  assert.equal(await page.getByLabel('Version of adire').inputValue(), 'adire@v1');
  assert.notEqual(await page.inputValue('#field-prompt'), '');
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

for (const [name, viewport] of Object.entries({ phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } })) {
  for (const colorScheme of ['light', 'dark']) {
    test(`new pages and states, ${name}, ${colorScheme}`, async () => {
      const page = await openPage(browser, server, { viewport, colorScheme });
      const fits = async () => {
        await noSeriousProblems(page);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${page.url()} is ${overflow} px too wide`);
      };
      for (const address of ['/adapters', '/adapters/adire', '/adapters/nothing']) {
        await page.goto(server.url + address);
        await screenshot(page, `${address.replaceAll('/', '')}-${name}-${colorScheme}`);
        await fits();
      }
      await page.goto(server.url);
      await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
      if (name === 'phone') await page.getByRole('button', { name: 'Settings' }).click();
      await start(page, await draw(page));
      await screenshot(page, `start-${name}-${colorScheme}`);
      await fits();
      await page.click('#paint-mask');
      const canvas = page.locator('.mask-paint');
      await canvas.waitFor();
      const box = await canvas.boundingBox();
      await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.3);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.6, { steps: 6 });
      await page.mouse.up();
      await screenshot(page, `mask-${name}-${colorScheme}`);
      await fits();
      await page.context().close();
    });
  }
}
