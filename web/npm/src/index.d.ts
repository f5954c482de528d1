// What `import 'unigen'` means to TypeScript: the element, and its tag in the templates of frameworks. All of it follows from the element's class.

import type { Attributes, EditorEventMap, UniGenEditor } from './element.js';

export * from './element.js';

/** What a page may write in the tag: attributes, where numbers may be text. */
export type EditorAttributes = {
  [Name in Exclude<keyof Attributes, keyof HTMLElement>]?: UniGenEditor[Name] extends number | null ? number | string | null : UniGenEditor[Name] | null;
};

/** What a framework may set as properties besides. */
export type EditorProperties = EditorAttributes & Partial<Pick<UniGenEditor, 'image' | 'mask'>>;

/** Listeners as React 19, Preact and Svelte 5 name them: `onresult`. */
export type EditorListeners = { [Type in keyof EditorEventMap as `on${Type}`]?: (event: EditorEventMap[Type]) => void };

/** Listeners as Vue names them: `@result` is the property `onResult`. */
export type EditorCamelListeners = { [Type in keyof EditorEventMap as `on${Capitalize<Type>}`]?: (event: EditorEventMap[Type]) => void };

/** What a framework has for every tag, but for what this one tells itself. */
type Tag<Common, Own> = Omit<Common, keyof Own> & Own;

// A framework that is not installed is no error: TypeScript then leaves out what is said of it.

// @ts-ignore
declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore
      'unigen-editor': Tag<DetailedHTMLProps<HTMLAttributes<UniGenEditor>, UniGenEditor>, EditorProperties & EditorListeners>;
    }
  }
}

// @ts-ignore
declare module 'preact' {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore
      'unigen-editor': Tag<HTMLAttributes<UniGenEditor>, EditorProperties & EditorListeners>;
    }
  }
}

// @ts-ignore
declare module 'svelte/elements' {
  interface SvelteHTMLElements {
    // @ts-ignore
    'unigen-editor': Tag<HTMLAttributes<UniGenEditor>, EditorProperties & EditorListeners>;
  }
}

// @ts-ignore
declare module 'vue' {
  interface GlobalComponents {
    // @ts-ignore
    'unigen-editor': new () => { $props: Tag<HTMLAttributes, EditorProperties & EditorCamelListeners> };
  }
}
