// Enhances the admin pages, which all work without it: forms post, and a reload shows the current state. With it, files can
// be dropped and show their progress, captions are saved while editing, samples fold into a slider, pairs of images are laid
// over each other, and the page of an active training run or evaluation updates itself with what the server renders.
// @ts-check

/** Limits of one upload request: small enough that progress moves and a slow connection stays below the timeout. */
const MAX_FILES = 24;
const MAX_BYTES = 24 << 20;
/** Minimum milliseconds between two updates of a live page. */
const MIN_INTERVAL_MS = 1000;

/** @template {Element} [T=HTMLElement] @param {string} selector @param {ParentNode} [within] */
const all = (selector, within = document) => /** @type {T[]} */ ([...within.querySelectorAll(selector)]);

document.documentElement.dataset.scripted = '';
all('[data-upload]').forEach((form) => upload(/** @type {HTMLFormElement} */ (form)));
all('[data-captions]').forEach((form) => captions(/** @type {HTMLFormElement} */ (form)));
fold(document);
overlay();
follow();
all('.train-form').forEach((form) => refill(/** @type {HTMLFormElement} */ (form)));

// ---- Uploads

/** @typedef {{ file: File, name: string }} Upload */

/** @param {HTMLFormElement} form */
function upload(form) {
  const state = /** @type {HTMLElement} */ (form.querySelector('.uploading'));
  const message = /** @type {HTMLElement} */ (state.querySelector('p'));
  const bar = /** @type {HTMLElement} */ (state.querySelector('i'));
  const inputs = all('input[type=file]', form);
  let busy = false;

  for (const element of inputs) {
    const input = /** @type {HTMLInputElement} */ (element);
    input.addEventListener('change', () => {
      send([...(input.files ?? [])].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    });
  }
  form.addEventListener('submit', (event) => event.preventDefault());
  // Anywhere on the page: a file dropped beside the frame must not navigate away.
  const over = (/** @type {boolean} */ is) => form.classList.toggle('over', is);
  const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files');
  addEventListener('dragover', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    over(true);
  });
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) over(false);
  });
  addEventListener('drop', (event) => {
    if (!carriesFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    over(false);
    dropped(event.dataTransfer).then(send, (error) => tell(`Couldn’t read the files: ${error.message ?? error}.`));
  });
  addEventListener('beforeunload', (event) => {
    if (busy) event.preventDefault();
  });

  /** @param {string} sentence */
  function tell(sentence) {
    state.hidden = false;
    message.textContent = sentence;
  }

  /** @param {Upload[]} files */
  async function send(files) {
    // Images first: captions are matched to images that the server has. Hidden files are sent too, so that the server can
    // report what it skipped.
    const wanted = [...files].sort((a, b) => late(a) - late(b) || (a.name < b.name ? -1 : 1));
    if (busy) return tell('Another upload is in progress.');
    if (!wanted.length) return tell('No files found.');
    busy = true;
    const total = wanted.reduce((sum, { file }) => sum + file.size, 0) || 1;
    let sent = 0;
    let done = 0;
    try {
      for (const batch of batches(wanted)) {
        const size = batch.reduce((sum, { file }) => sum + file.size, 0);
        await post(form.action, batch, (bytes) => {
          const share = Math.min(1, (sent + Math.min(bytes, size)) / total);
          bar.style.width = `${share * 100}%`;
          tell(`${done} of ${wanted.length} files, ${Math.round(share * 100)}%`);
        });
        sent += size;
        done += batch.length;
      }
      busy = false;
      location.assign(`${location.pathname}?done=files`);
    } catch (error) {
      busy = false;
      const rest = done ? ` ${done} of ${wanted.length} files were uploaded; add the rest again.` : '';
      tell(`${/** @type {Error} */ (error).message}${rest}`);
    }
    inputs.forEach((input) => (/** @type {HTMLInputElement} */ (input).value = ''));
  }
}

/** Whether a file comes after the images. @param {Upload} file */
const late = ({ name }) => Number(/\.(txt|caption|jsonl|ndjson|json|csv|tsv)$/i.test(name));

/** @param {Upload[]} files */
function* batches(files) {
  /** @type {Upload[]} */
  let batch = [];
  let bytes = 0;
  for (const upload of files) {
    if (batch.length && (batch.length >= MAX_FILES || bytes + upload.file.size > MAX_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(upload);
    bytes += upload.file.size;
  }
  if (batch.length) yield batch;
}

/**
 * `XMLHttpRequest`, because `fetch` does not report upload progress.
 * @param {string} address @param {Upload[]} files @param {(bytes: number) => void} progress
 * @returns {Promise<void>}
 */
function post(address, files, progress) {
  const body = new FormData();
  for (const { file, name } of files) body.append('files', file, name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', address);
    request.setRequestHeader('Accept', 'text/html');
    request.upload.addEventListener('progress', (event) => progress(event.loaded));
    request.addEventListener('load', () => {
      const elsewhere = new URL(request.responseURL).pathname.startsWith('/admin/sign-in');
      if (request.status < 400 && !elsewhere) resolve();
      else reject(new Error(elsewhere ? 'Your session has expired. Sign in again.' : reason(request)));
    });
    request.addEventListener('error', () => reject(new Error('Couldn’t reach the server.')));
    progress(0);
    request.send(body);
  });
}

/** The error message of a response. @param {XMLHttpRequest} request */
function reason(request) {
  if (request.getResponseHeader('content-type')?.includes('json')) {
    try {
      return JSON.parse(request.responseText).detail;
    } catch {
      // Falls through to the status below.
    }
  }
  const page = new DOMParser().parseFromString(request.responseText, 'text/html');
  return page.querySelector('.alert')?.textContent?.trim() || `Upload failed with status ${request.status}.`;
}

/** All dropped files, including those in folders. @param {DataTransfer} data @returns {Promise<Upload[]>} */
async function dropped(data) {
  // The list is emptied at the first await.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = await Promise.all(entries.map((entry) => (entry instanceof File ? [{ file: entry, name: entry.name }] : walk(entry))));
  return found.flat();
}

/** @param {FileSystemEntry | null} entry @returns {Promise<Upload[]>} */
async function walk(entry) {
  if (!entry) return [];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
    return [{ file, name: entry.fullPath.replace(/^\//, '') }];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const inside = [];
  // A reader returns a hundred at a time, and none at the end.
  for (;;) {
    const more = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!more.length) break;
    inside.push(...more);
  }
  return (await Promise.all(inside.map(walk))).flat();
}

// ---- The form of a training run

/** Updates the fields that depend on the dataset when another one is selected. @param {HTMLFormElement} form */
function refill(form) {
  const dataset = /** @type {HTMLSelectElement | null} */ (form.querySelector('[name=dataset]'));
  const names = ['sample_prompts', 'class_dataset', 'class_prompt'];
  const field = (/** @type {ParentNode} */ within, /** @type {string} */ name) =>
    /** @type {HTMLInputElement} */ (within.querySelector(`[name=${name}]`));
  const filled = Object.fromEntries(names.map((name) => [name, field(form, name).value]));
  dataset?.addEventListener('change', async () => {
    const chosen = dataset.value;
    const query = new URLSearchParams({ preset: field(form, 'preset').value, dataset: chosen });
    const answer = await fetch(`/admin/training/new?${query}`, { headers: { accept: 'text/html' } }).catch(() => null);
    if (!answer?.ok || dataset.value !== chosen) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const name of names) {
      const [mine, theirs] = [field(form, name), field(page, name)];
      // Edited fields stay.
      if (!theirs || mine.value !== filled[name]) continue;
      mine.value = filled[name] = theirs.value;
    }
  });
}

// ---- Captions

/** Saves each caption and repeat count when its field loses focus. @param {HTMLFormElement} form */
function captions(form) {
  const status = form.querySelector('[data-saved]');
  const tell = (/** @type {string} */ sentence) => {
    if (status) status.textContent = sentence;
  };
  // Not `form.action`: a field of that name shadows the attribute.
  const address = new URL(form.getAttribute('action') ?? '', location.href);
  form.addEventListener('change', async (event) => {
    const field = /** @type {HTMLTextAreaElement | HTMLInputElement} */ (event.target);
    if (field.dataset?.kept === undefined) return;
    const body = new URLSearchParams({ action: 'captions', [field.name]: field.value });
    tell('Saving…');
    try {
      const answer = await fetch(address, { method: 'POST', body, headers: { accept: 'text/html' } });
      // Elsewhere: the session has expired, and this is the sign-in page.
      const saved = answer.ok && new URL(answer.url).pathname === address.pathname;
      tell(saved ? 'Saved.' : 'Not saved. Press “Save captions” to see why.');
    } catch {
      tell('Not saved: couldn’t reach the server.');
    }
  });
}

// ---- Samples

/** Turns each row of samples into one image with a slider over the steps. @param {ParentNode} within @param {Map<string, string>} [kept] */
function fold(within, kept = new Map()) {
  for (const strip of all('[data-strip]', within)) {
    const shots = all('li[data-step]', strip);
    if (shots.length < 2) continue;
    const steps = shots.map((shot) => shot.dataset.step ?? '');
    // The newest, unless an earlier one was selected.
    const before = kept.get(strip.id);
    const first = before === undefined ? -1 : steps.indexOf(before);
    const slider = document.createElement('input');
    Object.assign(slider, { type: 'range', min: '0', max: String(shots.length - 1), step: '1', autocomplete: 'off', id: `${strip.id}-slider` });
    slider.setAttribute('aria-label', `Step of ${strip.querySelector('h3')?.textContent ?? 'the samples'}`);
    const output = document.createElement('output');
    output.htmlFor = slider.id;
    const show = () => {
      const at = Number(slider.value);
      shots.forEach((shot, index) => shot.classList.toggle('shown', index === at));
      // Preloads the neighbours.
      for (const near of [shots[at - 1], shots[at], shots[at + 1]]) near?.querySelector('img')?.setAttribute('loading', 'eager');
      output.textContent = `Step ${steps[at]}`;
      slider.setAttribute('aria-valuetext', output.textContent);
      if (at === shots.length - 1) delete strip.dataset.at;
      else strip.dataset.at = steps[at];
    };
    slider.value = String(first < 0 ? shots.length - 1 : first);
    slider.addEventListener('input', show);
    const row = document.createElement('div');
    row.className = 'scrub';
    row.append(slider, output);
    strip.append(row);
    strip.querySelector('ul')?.removeAttribute('tabindex');
    strip.classList.add('folded');
    show();
  }
}

// ---- Pairs of images

/** Lays the two images of each pair over each other, with a slider between them. */
function overlay() {
  for (const pair of all('[data-pair]')) {
    const names = all('figcaption b', pair).map((name) => name.textContent ?? '');
    const slider = document.createElement('input');
    Object.assign(slider, { type: 'range', min: '0', max: '100', value: '50', autocomplete: 'off' });
    slider.setAttribute('aria-label', `Divider between ${names.join(' and ')}: ${pair.querySelector('h3')?.textContent ?? ''}`);
    const show = () => {
      pair.style.setProperty('--divider', `${slider.value}%`);
      slider.setAttribute('aria-valuetext', `${slider.value}% ${names[0]}`);
    };
    slider.addEventListener('input', show);
    const row = document.createElement('div');
    row.className = 'scrub';
    row.append(slider);
    pair.append(row);
    pair.classList.add('overlaid');
    show();
  }
}

// ---- An active training run or evaluation

/** Follows the events of this page's training run or evaluation, and replaces the live part with the server's rendering. */
function follow() {
  const live = /** @type {HTMLElement | null} */ (document.querySelector('#live'));
  if (live?.dataset.every) return poll(Number(live.dataset.every));
  if (!live?.dataset.events || ['done', 'cancelled', 'failed'].includes(live.dataset.state ?? '')) return;
  let waiting = false;
  let last = 0;
  // A slider that is being dragged must stay the same element.
  let held = false;
  addEventListener('pointerdown', () => (held = true));
  for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => (held = false));
  const changed = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(async () => {
      waiting = false;
      last = performance.now();
      if (held) return changed();
      const state = await refresh().catch(() => undefined);
      if (['done', 'cancelled', 'failed'].includes(state ?? '')) stop();
    }, Math.max(0, last + MIN_INTERVAL_MS - performance.now()));
  };
  const stop = listen(live.dataset.events, ['job', 'point', 'sample', 'evaluation'], changed);
  addEventListener('pagehide', stop);
  // Restored from the back/forward cache: a closed stream stays closed.
  addEventListener('pageshow', (event) => event.persisted && location.reload());
}

/** Replaces the live part every so many milliseconds, until it has ended or the page is left. @param {number} every */
function poll(every) {
  const isOver = (/** @type {string | undefined} */ state) => ['done', 'cancelled'].includes(state ?? '');
  if (isOver(/** @type {HTMLElement | null} */ (document.querySelector('#live'))?.dataset.state)) return;
  const next = async () => {
    // A page that nobody looks at asks for nothing.
    const state = document.hidden ? undefined : await refresh().catch(() => undefined);
    if (!isOver(state)) setTimeout(next, every);
  };
  setTimeout(next, every);
}

/**
 * Calls `changed` at each event of these kinds; returns a function that stops. Uses the shared worker of streams.js where
 * the browser supports it.
 * @param {string} address @param {string[]} kinds @param {() => void} changed
 */
function listen(address, kinds, changed) {
  const alone = () => {
    const stream = new EventSource(address);
    for (const kind of kinds) stream.addEventListener(kind, changed);
    return () => stream.close();
  };
  if (!('SharedWorker' in window)) return alone();
  const worker = new SharedWorker('/streams.js?1');
  let stop = () => {
    worker.port.postMessage({ leave: address });
    worker.port.close();
  };
  const follow = () => worker.port.postMessage({ follow: address, names: kinds });
  worker.onerror = () => (stop = alone());
  worker.port.onmessage = ({ data: [of, name] }) => {
    if (of !== address) return;
    if (kinds.includes(name)) changed();
    // The server has ended the stream, perhaps because it restarts.
    if (!name) setTimeout(follow, 3 * MIN_INTERVAL_MS);
  };
  follow();
  return () => stop();
}

/** Replaces the live part with the server's current rendering; returns the state of the run or evaluation. */
async function refresh() {
  const old = /** @type {HTMLElement} */ (document.querySelector('#live'));
  const answer = await fetch(old.dataset.live ?? '', { headers: { accept: 'text/html' } });
  // Signed out in another window: the page stays as it is; a reload leads to the sign-in page.
  if (!answer.ok || answer.redirected) return undefined;
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const fresh = /** @type {HTMLElement | null} */ (page.querySelector('#live'));
  if (!fresh) return undefined;
  const at = new Map(all('[data-at]', old).map((strip) => [strip.id, strip.dataset.at ?? '']));
  for (const details of all('details[id]', old)) {
    if (/** @type {HTMLDetailsElement} */ (details).open) fresh.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute('open', '');
  }
  fold(fresh, at);
  // Loaded images stay: a new element would be blank for a moment.
  const images = new Map(all('img', old).map((image) => [/** @type {HTMLImageElement} */ (image).getAttribute('src'), image]));
  for (const image of all('img', fresh)) {
    const same = images.get(image.getAttribute('src'));
    if (same) {
      images.delete(image.getAttribute('src'));
      image.replaceWith(same);
    }
  }
  const focus = keepable(old);
  old.replaceWith(fresh);
  if (focus) /** @type {HTMLElement | null} */ (focus(fresh))?.focus({ preventScroll: true });
  return fresh.dataset.state;
}

/** A function that finds the focused element in a new rendering: a slider by id, a button by value, a summary by its details. @param {Element} within */
function keepable(within) {
  const active = document.activeElement;
  if (!active || !within.contains(active)) return undefined;
  if (active.id) return (/** @type {Element} */ fresh) => fresh.querySelector(`#${CSS.escape(active.id)}`);
  if (active instanceof HTMLButtonElement) {
    return (/** @type {Element} */ fresh) => fresh.querySelector(`button[value="${CSS.escape(active.value)}"]`);
  }
  const details = active.closest('details[id]');
  return details ? (/** @type {Element} */ fresh) => fresh.querySelector(`#${CSS.escape(details.id)} > summary`) : undefined;
}
