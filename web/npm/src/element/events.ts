// What the element tells its page: results, and events by their names.

import type { ErrorCode } from '../error.ts';
import type { Model, Progress, Settings, UnknownWord } from '../types.d.ts';
import type { Mode } from './words.ts';

export interface EditorResult {
  task: Mode;
  /** The prompt, the instruction or the question. */
  prompt: string;
  /** What was drawn, with its seed and settings. */
  image?: ImageData;
  seed?: number;
  settings?: Settings;
  /** What was edited, in the shape of what was drawn. */
  before?: OffscreenCanvas;
  answer?: string;
  /** The words of the text that the model has not learned; the visitor is told. */
  unknown?: UnknownWord[];
  model: Model | null;
}

export interface EditorEventMap {
  /**
   * How far a load, a drawing, an edit or an answer is: `fraction` of the whole call, from 0 to 1, never falling, and its `phase`: download, warmup,
   * weights (a load, also one that the call waits for), then encode, decode, paint (a picture) or encode, answer. `bytes` of `total` while loading,
   * `step` of `steps` while decoding.
   */
  progress: CustomEvent<Progress>;
  /** The model is loaded. */
  ready: CustomEvent<Model>;
  /** A decoding step is done; the picture so far. */
  step: CustomEvent<{ step: number; steps: number; preview?: ImageData }>;
  /** A picture or an answer is there. */
  result: CustomEvent<EditorResult>;
  /** What was under way was cancelled. */
  cancel: CustomEvent<null>;
  /** Something failed: a stable code, what, and what to do, in a developer's words; the visitor sees others. */
  error: CustomEvent<{ code: ErrorCode; text: string; hint: string; error: unknown }>;
  /** The GPU went away or the engine crashed; `recovering` says whether it starts again by itself, else the next call does that. */
  devicelost: CustomEvent<{ reason: string; recovering: boolean }>;
}
