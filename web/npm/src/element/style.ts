// Looks of <unigen-editor>; a constructed sheet needs no style-src 'unsafe-inline'.

const css = `
:host {
  --_accent: var(--unigen-accent, light-dark(#5b4bdb, #a99cff));
  --_on-accent: var(--unigen-on-accent, light-dark(#fff, #16132e));
  --_surface: var(--unigen-surface, light-dark(#fff, #1b1b24));
  --_sunken: var(--unigen-sunken, light-dark(#f1f1f6, #12121a));
  --_text: var(--unigen-text, light-dark(#1b1b26, #f0f0f6));
  --_muted: var(--unigen-muted, light-dark(#5c5c70, #a9a9bd));
  --_line: var(--unigen-line, light-dark(#d9d9e6, #383848));
  --_radius: var(--unigen-radius, 14px);
  display: block; box-sizing: border-box; inline-size: var(--unigen-size, 22rem); max-inline-size: 100%; padding: .75rem;
  color: var(--_text); background: var(--_surface); border: 1px solid var(--_line); border-radius: var(--_radius);
  font: 400 .9375rem/1.4 system-ui, sans-serif; color-scheme: light dark;
}
:host([hidden]), [hidden] { display: none !important; }
:host([theme=light]) { color-scheme: light; }
:host([theme=dark]) { color-scheme: dark; }
*, *::before { box-sizing: border-box; }
.stage {
  --_ratio: 1; position: relative; inline-size: min(100%, max(30rem, var(--unigen-size, 22rem)) * var(--_ratio)); margin-inline: auto;
  aspect-ratio: var(--_ratio); direction: ltr; overflow: hidden; border-radius: calc(var(--_radius) - 6px); background: var(--_sunken);
}
.layer { position: absolute; inset: 0; inline-size: 100%; block-size: 100%; object-fit: cover; }
.mask { opacity: .6; cursor: none; touch-action: none; }
.ring {
  position: absolute; aspect-ratio: 1; border: 2px solid #fff; border-radius: 50%; outline: 1px solid rgb(20 18 28 / 60%);
  transform: translate(-50%, -50%); pointer-events: none;
}
.ring.erases { border-style: dashed; }
.mask:focus-visible { outline-offset: -2px; }
.split {
  position: absolute; inset-inline: 0; inset-block-end: .5rem; inline-size: calc(100% - 1rem); margin: 0 .5rem; accent-color: var(--_accent);
}
.empty {
  position: absolute; inset: 0; display: grid; place-content: center; gap: .75rem; justify-items: center; padding: 1rem;
  color: var(--_muted); text-align: center; pointer-events: none;
}
.empty > * { pointer-events: auto; }
.intro { display: grid; gap: .5rem; justify-items: center; max-inline-size: 16rem; }
.intro svg { inline-size: 3rem; block-size: 3rem; fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linecap: round; stroke-linejoin: round; }
progress { position: absolute; inset: auto 0 0; inline-size: 100%; block-size: 4px; appearance: none; border: 0; background: var(--_line); }
progress::-webkit-progress-bar { background: var(--_line); }
progress::-webkit-progress-value { background: var(--_accent); transition: inline-size .2s; }
progress::-moz-progress-bar { background: var(--_accent); }
.bar { display: flex; gap: .5rem; margin-block-start: .75rem; }
.size { flex: 1; min-inline-size: 5rem; accent-color: var(--_accent); }
input[type=text] {
  flex: 1; min-inline-size: 0; padding: .5rem .75rem; font: inherit; color: inherit; background: var(--_sunken);
  border: 1px solid var(--_line); border-radius: calc(var(--_radius) - 6px);
}
input::placeholder { color: var(--_muted); opacity: 1; }
button {
  padding: .5rem .875rem; font: inherit; font-weight: 500; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid var(--_line); border-radius: calc(var(--_radius) - 6px);
}
button:hover { border-color: var(--_accent); }
button[aria-pressed=true] { background: var(--_sunken); border-color: var(--_accent); }
.primary, .load { color: var(--_on-accent); background: var(--_accent); border-color: transparent; }
:disabled { opacity: .55; cursor: default; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
.toolbar { display: flex; flex-wrap: wrap; gap: .5rem; margin-block-start: .5rem; }
.answer { display: block; min-block-size: 1.4em; margin-block-start: .75rem; font-weight: 500; }
.message { min-block-size: 1.4em; margin: .5rem 0 0; color: var(--_muted); font-size: .875em; overflow-wrap: anywhere; }
@media (forced-colors: active) {
  progress, progress::-webkit-progress-bar { forced-color-adjust: none; background: Canvas; }
  progress { outline: 1px solid CanvasText; outline-offset: -1px; }
  progress::-webkit-progress-value { background: Highlight; }
  progress::-moz-progress-bar { background: Highlight; }
  button[aria-pressed=true] { forced-color-adjust: none; color: HighlightText; background: Highlight; border-color: Highlight; }
  .stage { border: 1px solid CanvasText; }
  .ring { forced-color-adjust: none; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
`;

/** A sheet belongs to the document whose window made it. */
const sheets: WeakMap<Document, CSSStyleSheet> = new WeakMap();

/** Gives a shadow tree the looks of the element in the document that it is in now. */
export function dress(root: ShadowRoot): void {
  const { ownerDocument } = root;
  let sheet = sheets.get(ownerDocument);
  if (!sheet) {
    // A document that is shown nowhere has no window and needs no looks.
    const { CSSStyleSheet } = (ownerDocument.defaultView ?? {}) as { CSSStyleSheet?: typeof globalThis.CSSStyleSheet };
    if (!CSSStyleSheet) return;
    sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    sheets.set(ownerDocument, sheet);
  }
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [sheet];
}
