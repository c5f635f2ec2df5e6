// Mask editor for the init image. Loaded on first use; talks to the page only through its fields `init_image` and `mask`:
// it reads both, uploads the painted mask and sets the second. White areas are regenerated, black areas are kept.
// @ts-check

/** @typedef {{ x: number, y: number, size: number }} Dot */
/** @typedef {{ erase: boolean, dots: Dot[] } | 'clear' | 'all'} Stroke */

/** Longest side of the mask in pixels; the server stretches it over the image. */
const MAX_SIDE = 1024;
/** Colour that stands for the mask's white. */
const PAINT = [229, 150, 40];
const COLOUR = `rgb(${PAINT})`;

const field = (/** @type {string} */ name) =>
  /** @type {HTMLInputElement} */ (document.querySelector(`.start input[name="${name}"]`));
const address = (/** @type {string} */ hash) => `/api/v1/images/${hash}.png`;

/** @param {string} source @returns {Promise<HTMLImageElement>} */
async function load(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Record<string, string>} attributes @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** @param {number} width @param {number} height */
function sheet(width, height) {
  const canvas = make('canvas', {});
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d');
  if (!context) throw new Error('This browser does not support painting.');
  return { canvas, context };
}

/** The painted mask as a list of strokes, which undo removes one by one. */
class Painting {
  /** @type {Stroke[]} */ strokes = [];

  /** @param {HTMLImageElement} image @param {HTMLImageElement | null} before */
  constructor(image, before) {
    const scale = Math.min(1, MAX_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
    this.width = Math.max(1, Math.round(image.naturalWidth * scale));
    this.height = Math.max(1, Math.round(image.naturalHeight * scale));
    this.paint = sheet(this.width, this.height);
    this.paint.canvas.className = 'mask-paint';
    this.before = before && this.whiteOf(before);
    this.redraw();
  }

  /** An earlier mask: its white as paint. @param {HTMLImageElement} mask */
  whiteOf(mask) {
    const { canvas, context } = sheet(this.width, this.height);
    context.drawImage(mask, 0, 0, this.width, this.height);
    const pixels = context.getImageData(0, 0, this.width, this.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const [r, g, b] = pixels.data.subarray(i, i + 3);
      const isWhite = 0.299 * r + 0.587 * g + 0.114 * b >= 128;
      pixels.data.set([...PAINT, isWhite ? 255 : 0], i);
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  redraw() {
    const { context } = this.paint;
    context.globalCompositeOperation = 'source-over';
    context.clearRect(0, 0, this.width, this.height);
    if (this.before) context.drawImage(this.before, 0, 0);
    for (const stroke of this.strokes) this.draw(stroke);
  }

  /** @param {Stroke} stroke @param {number} from index of the first new dot */
  draw(stroke, from = 0) {
    const { context } = this.paint;
    if (typeof stroke === 'string') {
      context.globalCompositeOperation = 'source-over';
      context.clearRect(0, 0, this.width, this.height);
      context.fillStyle = COLOUR;
      if (stroke === 'all') context.fillRect(0, 0, this.width, this.height);
      return;
    }
    context.globalCompositeOperation = stroke.erase ? 'destination-out' : 'source-over';
    context.strokeStyle = COLOUR;
    context.lineCap = 'round';
    for (let i = Math.max(from, 0); i < stroke.dots.length; i++) {
      const dot = stroke.dots[i];
      const last = stroke.dots[i - 1] ?? dot;
      context.lineWidth = dot.size;
      context.beginPath();
      context.moveTo(last.x, last.y);
      context.lineTo(dot.x, dot.y);
      context.stroke();
    }
  }

  /** @param {Stroke} stroke */
  add(stroke) {
    this.strokes.push(stroke);
    this.draw(stroke);
  }

  undo() {
    this.strokes.pop();
    this.redraw();
  }

  /** The mask in black and white; null where no pixel is white. @returns {Promise<Blob | null>} */
  async file() {
    const { canvas, context } = sheet(this.width, this.height);
    const fill = (/** @type {GlobalCompositeOperation} */ how, /** @type {string} */ colour) => {
      [context.globalCompositeOperation, context.fillStyle] = [how, colour];
      context.fillRect(0, 0, this.width, this.height);
    };
    context.drawImage(this.paint.canvas, 0, 0);
    fill('source-in', '#fff');
    fill('destination-over', '#000');
    const { data } = context.getImageData(0, 0, this.width, this.height);
    let white = false;
    for (let i = 0; i < data.length && !white; i += 4) white = data[i] >= 128;
    return white ? new Promise((done) => canvas.toBlob(done, 'image/png')) : null;
  }
}

/** @param {string} hash */
function settle(hash) {
  const mask = field('mask');
  mask.value = hash;
  mask.dispatchEvent(new Event('input', { bubbles: true }));
}

/** @param {Blob} file @returns {Promise<string>} */
async function upload(file) {
  const answer = await fetch('/api/v1/uploads', { method: 'POST', body: file }).catch(() => null);
  if (!answer) throw new Error('Couldn’t reach the server. Your painting is kept; try again.');
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? 'Couldn’t save the mask. Try again.');
  return body.hash;
}

async function open() {
  const image = await load(address(field('init_image').value));
  const before = field('mask').value ? await load(address(field('mask').value)).catch(() => null) : null;
  const painting = new Painting(image, before);
  const shown = painting.paint.canvas;
  shown.tabIndex = 0;
  shown.setAttribute('role', 'img');
  shown.setAttribute('aria-label', 'Init image with the mask; paint with a mouse, finger or pen');

  const size = make('input', { type: 'range', min: '1', max: '50', value: '12', id: 'mask-size', 'aria-label': 'Brush size' });
  const tool = (/** @type {string} */ label, /** @type {string} */ key) =>
    make('button', { type: 'button', class: 'button', title: `${label} (${key})` }, label);
  const [brush, eraser] = [tool('Brush', 'B'), tool('Erase', 'E')];
  const [undo, clear, all] = [tool('Undo', 'Ctrl+Z'), tool('Clear', 'Del'), tool('Paint all', 'A')];
  const cancel = make('button', { type: 'button', class: 'button' }, 'Cancel');
  const save = make('button', { type: 'button', class: 'primary mask-save' }, 'Apply mask');
  const problem = make('p', { class: 'field-problem', role: 'alert' });
  const cursor = make('span', { class: 'mask-cursor', hidden: '' });
  image.alt = '';
  const board = make('div', { class: 'mask-table' }, image, shown, cursor);
  board.style.setProperty('--ratio', String(painting.width / painting.height));
  const dialog = make(
    'dialog',
    { class: 'mask-editor', 'aria-labelledby': 'mask-title' },
    make('h2', { id: 'mask-title' }, 'Paint the area to regenerate'),
    make('div', { class: 'mask-tools' },
      make('div', { class: 'mask-group', role: 'group', 'aria-label': 'Tool' }, brush, eraser),
      make('label', {}, make('span', {}, 'Size'), size),
      make('div', { class: 'mask-group', role: 'group', 'aria-label': 'Whole mask' }, undo, clear, all)),
    board,
    problem,
    make('div', { class: 'mask-end' },
      make('p', { class: 'hint' }, 'No mouse or pen? Close this and upload a mask; white areas are regenerated.'), cancel, save),
  );

  let erase = false;
  const choose = (/** @type {boolean} */ wanted) => {
    erase = wanted;
    brush.setAttribute('aria-pressed', String(!erase));
    eraser.setAttribute('aria-pressed', String(erase));
  };
  const refresh = () => (undo.disabled = painting.strokes.length === 0);
  const add = (/** @type {Stroke} */ stroke) => (painting.add(stroke), refresh());
  choose(false);
  refresh();
  brush.onclick = () => choose(false);
  eraser.onclick = () => choose(true);
  undo.onclick = () => (painting.undo(), refresh());
  clear.onclick = () => add('clear');
  all.onclick = () => add('all');

  /** Brush size in pixels of the mask: a share of its longer side. */
  const across = () => (Number(size.value) / 100) * Math.max(painting.width, painting.height);
  /** @type {Stroke & object | null} */
  let stroke = null;
  const dot = (/** @type {PointerEvent} */ event) => {
    const box = shown.getBoundingClientRect();
    // Only pens report pressure.
    const force = event.pointerType === 'pen' && event.pressure ? 0.4 + event.pressure : 1;
    return {
      x: ((event.clientX - box.left) / box.width) * painting.width,
      y: ((event.clientY - box.top) / box.height) * painting.height,
      size: across() * force,
    };
  };
  const follow = (/** @type {PointerEvent} */ event) => {
    const box = shown.getBoundingClientRect();
    cursor.hidden = event.pointerType === 'touch';
    cursor.style.width = cursor.style.height = `${(across() / painting.width) * box.width}px`;
    cursor.style.left = `${event.clientX - box.left}px`;
    cursor.style.top = `${event.clientY - box.top}px`;
  };
  shown.onpointerdown = (event) => {
    if (!event.isPrimary || (event.button !== 0 && event.button !== 5)) return;
    event.preventDefault();
    shown.setPointerCapture(event.pointerId);
    // Button 5 is the other end of a pen.
    stroke = { erase: erase || event.button === 5, dots: [dot(event)] };
    add(stroke);
  };
  shown.onpointermove = (event) => {
    follow(event);
    if (!stroke || !event.isPrimary) return;
    const from = stroke.dots.length;
    const events = event.getCoalescedEvents?.() ?? [];
    stroke.dots.push(...(events.length ? events : [event]).map(dot));
    painting.draw(stroke, from);
  };
  shown.onpointerup = shown.onpointercancel = () => (stroke = null);
  shown.onpointerleave = () => (cursor.hidden = true);

  dialog.onkeydown = (event) => {
    // The page has its own shortcuts.
    event.stopPropagation();
    const with_control = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (with_control && key === 'z') undo.click();
    else if (with_control && key === 'enter') save.click();
    else if (with_control || event.target === size) return;
    else if (key === 'b' || key === 'e') choose(key === 'e');
    else if (key === 'a') all.click();
    else if (key === 'delete') clear.click();
    else if (key === '[' || key === ']') size.value = String(Number(size.value) + (key === ']' ? 2 : -2));
    else return;
    event.preventDefault();
  };

  cancel.onclick = () => dialog.close();
  dialog.onclose = () => {
    dialog.remove();
    document.getElementById('paint-mask')?.focus();
  };
  save.onclick = async () => {
    save.disabled = true;
    problem.textContent = '';
    try {
      const file = await painting.file();
      settle(file ? await upload(file) : '');
      dialog.close();
    } catch (error) {
      problem.textContent = /** @type {Error} */ (error).message;
    }
    save.disabled = false;
  };

  document.body.append(dialog);
  dialog.showModal();
  shown.focus();
}

const begin = () => {
  if (!document.querySelector('.mask-editor')) open().catch(() => {
    const error = make('p', { class: 'field-problem', role: 'alert' }, 'Couldn’t load the init image. Reload the page.');
    document.querySelector('.init-image')?.after(error);
  });
};

const style = make('link', { rel: 'stylesheet', href: '/mask.css' });
const ready = new Promise((done) => (style.onload = style.onerror = done));
document.head.append(style);
document.addEventListener('click', (event) => {
  if (event.target instanceof Element && event.target.closest('#paint-mask')) begin();
});
// The click that loaded this module came before.
ready.then(begin);
