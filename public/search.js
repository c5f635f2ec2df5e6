// Adapter search. Turns the menu of adapters into a combobox (ARIA) that searches names, trigger words, versions and
// descriptions. Arrow keys move, Enter selects, Escape closes; the focus stays in the field. Loaded where there are many
// adapters; talks to the page only through the menu: it reads its options and selects one.
// @ts-check

/** Entries of the list; typing narrows it down. */
const MAX_ENTRIES = 50;

const menu = /** @type {HTMLSelectElement} */ (document.querySelector('.add-adapter select'));

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Record<string, string>} attributes @param {(Node | string)[]} children
 */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const field = make('input', {
  id: 'adapter-search',
  type: 'text',
  role: 'combobox',
  autocomplete: 'off',
  placeholder: 'Add an adapter: name or trigger word',
  'aria-label': menu.getAttribute('aria-label') ?? '',
  'aria-autocomplete': 'list',
  'aria-controls': 'adapter-list',
  'aria-expanded': 'false',
});
const list = make('ul', { id: 'adapter-list', role: 'listbox', 'aria-label': 'Adapters' });
const status = make('p', { class: 'hint', role: 'status' });
const found = make('div', { class: 'found', hidden: '' }, list, status);
menu.after(make('div', { class: 'search' }, field, found));
menu.hidden = true;

/** Index of the entry that Enter selects. */
let active = 0;
const isOpen = () => !found.hidden;

/**
 * How far from the front an option belongs: 0 where the name has every typed word, 1 with the trigger words, 2 with the
 * rest, 3 where it does not match.
 * @param {HTMLOptionElement} option @param {string[]} words
 */
function rank({ value, dataset }, words) {
  const texts = [value, dataset.trigger, `${dataset.versions} ${dataset.about}`];
  const has = (/** @type {number} */ upTo) => {
    const text = texts.slice(0, upTo + 1).join(' ').toLowerCase();
    return words.every((word) => text.includes(word));
  };
  return [0, 1, 2].find(has) ?? 3;
}

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const options = [...menu.options].filter((option) => option.value);
  const all = [0, 1, 2].flatMap((place) => options.filter((option) => rank(option, words) === place));
  const entries = all.slice(0, MAX_ENTRIES).map((option, at) => {
    const { trigger, versions } = option.dataset;
    return make(
      'li',
      { id: `adapter-option-${at}`, role: 'option', 'data-value': option.value },
      make('b', {}, option.text),
      make('small', {}, versions ?? ''),
      make('span', {}, trigger ? `“${trigger}”` : ''),
    );
  });
  list.replaceChildren(...entries);
  status.textContent = summary(all.length);
  found.hidden = false;
  field.setAttribute('aria-expanded', 'true');
  point(0);
}

/** @param {number} many */
function summary(many) {
  if (!many) return 'No matching adapter.';
  if (many > MAX_ENTRIES) return `${MAX_ENTRIES} of ${many} adapters; type to narrow the list.`;
  return many === 1 ? '1 adapter.' : `${many} adapters.`;
}

function close() {
  found.hidden = true;
  field.setAttribute('aria-expanded', 'false');
  field.removeAttribute('aria-activedescendant');
}

/** @param {number} at */
function point(at) {
  active = at;
  [...list.children].forEach((entry, index) => entry.setAttribute('aria-selected', String(index === at)));
  const entry = list.children[at];
  if (entry) field.setAttribute('aria-activedescendant', entry.id);
  else field.removeAttribute('aria-activedescendant');
  entry?.scrollIntoView({ block: 'nearest' });
}

/** @param {Element | null | undefined} entry */
function take(entry) {
  if (!(entry instanceof HTMLElement)) return;
  field.value = '';
  close();
  choose(entry.dataset.value ?? '');
}

/** The page adds the adapter to the form and removes it from the menu. @param {string} value */
function choose(value) {
  menu.value = value;
  menu.dispatchEvent(new Event('change', { bubbles: true }));
}

field.addEventListener('input', show);
field.addEventListener('click', show);
field.addEventListener('blur', close);
field.addEventListener('keydown', (event) => {
  const many = list.children.length;
  if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
    const by = event.key === 'ArrowDown' ? 1 : -1;
    if (isOpen()) point((active + by + many) % (many || 1));
    else show();
  } else if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey) {
    // Enter would submit the form.
    if (isOpen()) take(list.children[active]);
  } else if (event.key === 'Escape' && isOpen()) {
    close();
  } else {
    return;
  }
  event.preventDefault();
});
// A press must not move the focus from the field: the list would close before the click.
found.addEventListener('mousedown', (event) => event.preventDefault());
list.addEventListener('click', (event) => take(/** @type {Element} */ (event.target).closest('[role=option]')));

// Selected in the menu before the page was hydrated.
if (menu.value) choose(menu.value);
