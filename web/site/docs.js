// The docs page: tables of the element's description, and the examples that take more than a tag.

import './unigen/element.js';

const [drawing, edits] = document.querySelectorAll('.examples unigen-editor');
drawing.addEventListener('result', ({ detail }) => {
  edits.image = detail.image;
});

const form = document.querySelector('#form');
form.addEventListener('submit', (event) => {
  event.preventDefault();
  const file = new FormData(form).get('picture');
  document.querySelector('#sent').textContent = file ? `${file.name}, ${file.size} bytes` : 'Draw a picture first.';
});

const description = await (await fetch('unigen/custom-elements.json')).json();
const { attributes, members, events, slots, cssParts, cssProperties, cssStates } = description.modules[0].declarations[0];
const call = ({ name, parameters = [] }) => `${name}(${parameters.map((parameter) => parameter.name).join(', ')})`;
const type = (row) => row.type?.text ?? row.return?.type.text;

const name = ['Name', (row) => row.name];
const what = ['What', (row) => row.description];
const kind = ['Type', type];
const otherwise = ['Default', (row) => row.default];

document.querySelector('#tables').append(
  table('Attributes, each a property as well', attributes, [name, kind, otherwise, what]),
  table('Properties', members.filter((row) => row.kind === 'field'), [name, kind, what]),
  table('Methods', members.filter((row) => row.kind === 'method'), [['Name', call], kind, what]),
  table('Events', events, [name, kind, what]),
  table('Slots', slots, [name, what]),
  table('Parts, ::part(…)', cssParts, [name, what]),
  table('Custom properties', cssProperties, [name, otherwise, what]),
  table('States, :state(…)', cssStates, [name, what]),
);

// The playground: a control for each attribute, and the tag that they make.
const [tried, markup, settings] = ['#tried', '#markup', '#settings'].map((id) => document.querySelector(id));
settings.append(...attributes.flatMap(setting));
settings.addEventListener('submit', (event) => event.preventDefault());
new MutationObserver(showMarkup).observe(tried, { attributes: true });
showMarkup();

/** A label and a control for an attribute, by its type. */
function setting({ name, type, default: usual }) {
  const words = [...(type?.text ?? '').matchAll(/'([^']+)'/g)].map(([, word]) => word);
  const control = document.createElement(words.length > 0 ? 'select' : 'input');
  if (words.length > 0) control.append(...['', ...words].map((word) => new Option(word || `(${usual?.replaceAll('"', '')})`, word)));
  else control.type = type?.text === 'boolean' ? 'checkbox' : 'text';
  control.id = `attribute-${name}`;
  control.value = tried.getAttribute(name) ?? '';
  control.addEventListener('input', () => {
    if (control.type === 'checkbox') tried.toggleAttribute(name, control.checked);
    else if (control.value === '') tried.removeAttribute(name);
    else tried.setAttribute(name, control.value);
  });
  const label = Object.assign(document.createElement('label'), { htmlFor: control.id });
  label.append(coded(name));
  return [label, control];
}

function showMarkup() {
  const written = tried.getAttributeNames().filter((name) => name !== 'id');
  const pairs = written.map((name) => (tried.getAttribute(name) === '' ? ` ${name}` : ` ${name}="${tried.getAttribute(name).replaceAll('"', '&quot;')}"`));
  markup.textContent = `<unigen-editor${pairs.join('')}></unigen-editor>`;
}

function table(caption, rows, columns) {
  const cell = (tag, text, code) => {
    const node = document.createElement(tag);
    if (code) node.append(coded(text ?? ''));
    else node.append(...prose(text ?? ''));
    return node;
  };
  const line = (...cells) => {
    const row = document.createElement('tr');
    row.append(...cells);
    return row;
  };
  const node = document.createElement('table');
  node.createCaption().textContent = caption;
  const head = (text) => Object.assign(cell('th', text), { scope: 'col' });
  node.createTHead().append(line(...columns.map(([title]) => head(title))));
  const body = rows.map((row) =>
    line(...columns.map(([title, get], i) => Object.assign(cell(i === 0 ? 'th' : 'td', get(row), title !== 'What'), i === 0 ? { scope: 'row' } : {}))),
  );
  node.createTBody().append(...body);
  const scrolls = document.createElement('div');
  Object.assign(scrolls, { className: 'scrolls', tabIndex: 0, role: 'region', ariaLabel: caption });
  scrolls.append(node);
  return scrolls;
}

function coded(text) {
  return Object.assign(document.createElement('code'), { textContent: text });
}

/** A text in which names stand between backticks. */
function prose(text) {
  return text.split('`').map((part, i) => (i % 2 === 1 ? coded(part) : part));
}
