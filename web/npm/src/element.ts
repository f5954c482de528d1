// <unigen-editor>: draws, edits and answers in any page. Where there is no page, as on a server that renders one, importing it does nothing.

import { UniGenEditor } from './element/editor.ts';

export { UniGenEditor };
export type { Attributes } from './element/attributes.ts';
export type { EditorEventMap, EditorResult } from './element/events.ts';
export type { Capabilities, Model, Picture, Progress, Settings } from './types.d.ts';

declare global {
  interface HTMLElementTagNameMap {
    'unigen-editor': UniGenEditor;
  }
}

const { customElements } = globalThis as { customElements?: CustomElementRegistry };
if (customElements && !customElements.get('unigen-editor')) customElements.define('unigen-editor', UniGenEditor);
