// Keys; without this script everything works by click.
const boxes = [...document.querySelectorAll('.faces input')];
const presses = {t: 'target', d: 'drop', k: 'keep', r: 'restore', u: 'undo'}, links = {n: 'after', b: 'before', a: 'all'};

function move(step) {
  const at = boxes.indexOf(document.activeElement);
  boxes[at < 0 ? 0 : Math.min(Math.max(at + step, 0), boxes.length - 1)]?.focus();
}

function columns() {
  const top = box => box.closest('label').offsetTop;
  return boxes.filter(box => top(box) === top(boxes[0])).length;
}

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const inText = event.target.matches('input:not([type=checkbox]), select');
  if (inText) {
    if (event.key === 'Escape') event.target.blur();
    if (event.key === 'Enter' && event.target.name === 'identity') press('person', event);
    return;
  }
  const arrows = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns()};
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in arrows && boxes.length) { event.preventDefault(); move(arrows[key]); }
  else if (key in presses) press(presses[key], event);
  else if (key in links) document.getElementById(links[key])?.click();
  else if (key === 'p') focus('[name=identity]', event);
  else if (key === '/') focus('[name=q]', event);
});

function focus(selector, event) {
  const field = document.querySelector(selector);
  if (!field) return;
  event.preventDefault();
  choose();
  field.focus();
}

// The face that has the focus is meant where none is chosen.
function choose() {
  if (boxes.includes(document.activeElement) && !boxes.some(box => box.checked)) document.activeElement.checked = true;
}

function press(action, event) {
  const button = document.querySelector(`button[value=${action}]`);
  if (!button) return;
  event.preventDefault();
  if (action !== 'undo') choose();
  button.click();
}

for (const list of document.querySelectorAll('.controls select')) list.addEventListener('change', () => list.form.submit());
