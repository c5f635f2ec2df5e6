// Selection of many images at once: all of a page, a range with Shift, and how many are selected. Without it, each image
// is selected by its own checkbox.
// @ts-check

const boxes = /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll('.images input[name=image]')]);
const all = /** @type {HTMLInputElement | null} */ (document.getElementById('select-all'));
const status = document.querySelector('.selected');

function count() {
  const selected = boxes.filter((box) => box.checked).length;
  if (status) status.textContent = selected ? `${selected} selected` : '';
  if (!all) return;
  all.checked = selected > 0 && selected === boxes.length;
  all.indeterminate = selected > 0 && selected < boxes.length;
}

/** The box that was changed last: a range begins there. */
let last = -1;
boxes.forEach((box, at) => {
  box.addEventListener('click', (event) => {
    if (event.shiftKey && last >= 0) {
      for (const between of boxes.slice(Math.min(last, at), Math.max(last, at))) between.checked = box.checked;
    }
    last = at;
    count();
  });
});

if (all) {
  const label = /** @type {HTMLElement} */ (all.closest('label'));
  label.hidden = false;
  all.addEventListener('change', () => {
    for (const box of boxes) box.checked = all.checked;
    count();
  });
}
count();
