/** `<unigen-editor>`; `custom-elements.json` describes each of these. */

import type { Capabilities, Model, Picture, Progress, Settings } from './engine.js';

export interface EditorResult {
  task: 'generate' | 'edit' | 'ask';
  /** The prompt, the instruction or the question. */
  prompt: string;
  /** What was drawn, with its seed and settings. */
  image?: ImageData;
  seed?: number;
  settings?: Settings;
  /** What was edited. */
  before?: OffscreenCanvas;
  answer?: string;
  model: Model | null;
}

export interface EditorEventMap {
  /** Of a load, a drawing, an edit or an answer. */
  progress: CustomEvent<Progress>;
  ready: CustomEvent<Model>;
  step: CustomEvent<{ step: number; steps: number; preview?: ImageData }>;
  result: CustomEvent<EditorResult>;
  cancel: CustomEvent<null>;
  /** Codes: those of the engine (`engine.d.ts`). */
  error: CustomEvent<{ code: string; text: string; hint: string; error: unknown }>;
  devicelost: CustomEvent<{ reason: string; recovering: boolean }>;
}

interface Call {
  seed?: number;
  signal?: AbortSignal;
}

interface DrawCall extends Call {
  steps?: number;
  guidance?: number;
}

export class UniGenEditor extends HTMLElement {
  /** Whether this browser has what the engine needs. */
  static readonly supported: boolean;
  src: string;
  mode: 'generate' | 'edit' | 'ask';
  prompt: string;
  seed: number | null;
  steps: number | null;
  guidance: number | null;
  loading: 'lazy' | 'eager' | 'manual';
  theme: 'auto' | 'light' | 'dark';
  disabled: boolean;
  name: string;
  image: Picture | null;
  mask: Picture | null;
  readonly result: EditorResult | null;
  readonly capabilities: Capabilities | null;
  readonly form: HTMLFormElement | null;
  load(options?: { signal?: AbortSignal }): Promise<Model>;
  generate(options?: DrawCall & { prompt?: string }): Promise<EditorResult>;
  edit(options?: DrawCall & { image?: Picture; mask?: Picture; instruction?: string; imageGuidance?: number }): Promise<EditorResult>;
  describe(options?: Call & { image?: Picture; question?: string }): Promise<EditorResult>;
  cancel(): void;
  toBlob(): Promise<Blob | null>;
  purge(): Promise<void>;
  addEventListener<K extends keyof EditorEventMap>(type: K, listener: (event: EditorEventMap[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'unigen-editor': UniGenEditor;
  }
}
