// Actions on the studio page, for the tests.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { AxeBuilder } from '@axe-core/playwright';
import { screenshot } from './studio.mjs';

export const STEPS = '6'; // enough to see an image, few enough for a quick run

export async function fill(page, { prompt = 'large white stars on blue cloth', seed = '7', steps = STEPS } = {}) {
  await page.fill('#field-prompt', prompt);
  await page.fill('#field-seed', seed);
  const field = page.locator('[name=steps]');
  if (!(await field.isVisible())) await page.locator('summary', { has: field }).first().click().catch(() => {});
  await field.fill(steps);
}

// Presses Generate and waits until a new image is on the canvas.
export async function generate(page) {
  const response = page.waitForResponse((answer) => answer.url().includes('/api/fn/generate'));
  await page.click('#generate');
  await response;
  await page.waitForSelector('#generate:not([disabled])', { timeout: 120_000 });
  await page.waitForSelector('#canvas-image');
  return bytesOf(page);
}

export async function bytesOf(page) {
  const source = await page.getAttribute('#canvas-image', 'src');
  const response = await fetch(new URL(source, page.url()));
  assert.equal(response.status, 200);
  return Buffer.from(await response.arrayBuffer());
}

// Waits for the image on a page without a script, which refreshes itself every 2 s until then. Whether Chromium honours that
// <noscript> where a tool disables scripts depends on a race at the start of the page, so the page is also reloaded from here, and
// such a reload may be cut off by the page's own.
export async function imageWithoutScript(page) {
  for (let i = 0; i < 60 && !(await page.locator('#canvas-image').count()); i++) {
    await page.waitForTimeout(1000);
    await page.reload().catch((error) => assert.match(error.message, /ERR_ABORTED/));
  }
  assert.equal(await page.locator('#canvas-image').count(), 1);
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

export async function noSeriousProblems(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  assert.deepEqual(
    serious.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]),
    [],
  );
}

// The page in light and dark, on a desk and on a phone: no serious problem, nothing too wide, a screenshot of each size.
export async function looksRight(page, name) {
  for (const { size, width, height } of [
    { size: '', width: 1280, height: 800 },
    { size: '-phone', width: 390, height: 844 },
  ]) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await noSeriousProblems(page);
      await screenshot(page, `${name}${size}-${colorScheme}`);
    }
    const needed = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(needed <= width, `${name}: ${needed} px wide`);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}

// Signs in with the password, on the way to a page of the admin.
export async function signIn(page, server, password, path) {
  await page.goto(`${server.url}/admin/sign-in?next=${encodeURIComponent(path)}`);
  await page.fill('#field-password', password);
  await page.press('#field-password', 'Enter');
  await page.waitForURL(server.url + path);
}

// Drops a file on the page.
export async function drop(page, bytes, name, type) {
  await page.evaluate(
    ([base64, name, type]) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], name, { type }));
      for (const kind of ['dragenter', 'dragover', 'drop']) {
        document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
      }
    },
    [bytes.toString('base64'), name, type],
  );
}

// An image of one colour, or of two: the left half white, the right half black.
export async function draw(page, { width = 256, height = 256, halves = false, type = 'image/png' } = {}) {
  const base64 = await page.evaluate(
    ([width, height, halves, type]) => {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [width, height];
      const context = canvas.getContext('2d');
      context.fillStyle = halves ? '#000' : '#2b3a8c';
      context.fillRect(0, 0, width, height);
      context.fillStyle = halves ? '#fff' : '#e5b253';
      context.fillRect(0, 0, width / 2, halves ? height : height / 2);
      return canvas.toDataURL(type).split(',')[1];
    },
    [width, height, halves, type],
  );
  return Buffer.from(base64, 'base64');
}

// The pixels of a PNG file, as the browser reads them.
export async function pixels(page, bytes) {
  const numbers = await page.evaluate(async (base64) => {
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    return [canvas.width, canvas.height, [...context.getImageData(0, 0, canvas.width, canvas.height).data]];
  }, bytes.toString('base64'));
  const [width, height, data] = numbers;
  return { width, height, at: (x, y) => data.slice(4 * (y * width + x), 4 * (y * width + x) + 3) };
}

// Opens a folded section.
export async function unfold(page, words) {
  const summary = page.locator('summary', { hasText: words });
  if ((await summary.locator('..').getAttribute('open')) === null) await summary.click();
}
