// What the engine takes and gives. Messages behind it: web/src/protocol.rs.

export type Backend = 'auto' | 'webgpu' | 'cpu';

/** What a call does while another is under way: fail, wait its turn, or cancel all others and be next. */
export type BusyPolicy = 'reject' | 'queue' | 'latest';

export interface EngineOptions {
  /** Manifest of the model, or the folder that holds `manifest.json`; may also be given to `load`. Default: `model/` beside the page. */
  model?: string | URL;
  /** Default: 'auto'. */
  backend?: Backend;
  /** Default: 'queue'. */
  busy?: BusyPolicy;
  /** Where worker.js and the engine's wasm are. Default: beside this module. */
  worker?: string | URL;
}

/**
 * What a call is doing. A load: `download`, `warmup` (the device compiles what it needs), `weights` (they move to the device). `generate`, `edit` and
 * `inpaint`: `encode` (text and picture become what the model reads), `decode` (step by step), `paint` (codes become pixels). `describe`: `encode`,
 * `answer` (token by token). In this order; a call that waits for a load has that one's phases first.
 */
export type Phase = 'download' | 'warmup' | 'weights' | 'encode' | 'decode' | 'paint' | 'answer';

export interface Progress {
  /** After the loss of a GPU a call begins again, with its first phase. */
  phase: Phase;
  /** Of the whole call, 0 to 1; never falls. */
  fraction: number;
  /** Of a load: bytes of weights here so far, of `total`. */
  bytes?: number;
  total?: number;
  /** While decoding: steps done, of `steps`. While answering: tokens written, of at most `steps`. */
  step?: number;
  steps?: number;
}

export interface Settings {
  steps: number;
  guidance: number;
  imageGuidance: number;
  temperature: number;
}

export interface Model {
  name: string;
  hash: string;
  /** Pixels a side. */
  imageSize: number;
  /** Codes a side. */
  grid: number;
  /** Whether it can edit and describe. */
  sees: boolean;
  generate: Settings;
  edit: Settings;
  maxPromptTokens: number;
  /** The words that it has learned, the most telling first; none where nobody has listed them. */
  words: string[];
  bytes: number;
}

/** A word that a model has not learned. */
export interface UnknownWord {
  /** As it is written in the text. */
  word: string;
  /** The word that the model knows and that is written most like it, where there is one. */
  nearest?: string;
}

export interface Step {
  /** Counted from 1, of `steps`. */
  step: number;
  steps: number;
  /**
   * Each picture so far; cells that are still masked are faint (opacity 72 of 255). Only some steps have previews: all of them together take at most a
   * tenth of a drawing.
   */
  previews: ImageData[];
  /** Codes a row. */
  grid: number;
  /** Of a step with previews, for each picture and code, row by row, 1 where it is still masked. */
  masked: Uint8Array[];
}

export interface Drawn {
  image: ImageData;
  seed: number;
  /** Row by row. */
  codes: number[];
}

export interface Result {
  images: Drawn[];
  settings: Settings;
  /** The words of the prompt or the instruction that the model has not learned: the pictures do not show what they say. */
  unknown: UnknownWord[];
}

/** Anything with pixels, also of another window. */
export type Picture = ImageData | ImageBitmap | Blob | HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | VideoFrame;

export interface Sampling {
  /** What is left out is the model's own choice. */
  steps?: number;
  guidance?: number;
  imageGuidance?: number;
  temperature?: number;
}

export interface GenerateRequest extends Sampling {
  prompt: string;
  /** What the picture is led away from, as strongly as guidance leads it to the prompt. */
  negative?: string;
  /** Of the first picture, 0 to 2^53 - 1; the others have those that follow, after the largest 0. Default: random. */
  seed?: number;
  /** Default: 1. */
  count?: number;
}

export interface EditRequest extends Sampling {
  image: Picture;
  instruction: string;
  /**
   * Opaque white where the picture may change; what is transparent or black stays. It covers the whole picture, whatever its own size, and the
   * smallest spot of it counts. The result has the picture's own size, up to 8192 pixels a side; around the mask it keeps the picture's pixels, and within
   * it fades into them. To extend a picture, put it on a larger canvas and paint the mask white around it.
   */
  mask?: Picture;
  /** Default: random. */
  seed?: number;
}

export interface InpaintRequest extends Sampling {
  image: Picture;
  /** Opaque white where it is drawn anew, as for an edit. */
  mask: Picture;
  /** What the whole picture shows in the end. */
  prompt: string;
  /** What it is led away from. */
  negative?: string;
  /** Default: random. */
  seed?: number;
}

export interface DescribeRequest {
  image: Picture;
  question: string;
  maxTokens?: number;
  /** Default: 0, the likeliest answer. */
  temperature?: number;
  seed?: number;
}

export interface CallOptions {
  /** Aborting rejects with the signal's reason at once; the engine stops within a step and stays usable. */
  signal?: AbortSignal;
  /** Sees how far the call is, from its first moment to 1. */
  onprogress?: (progress: Progress) => void;
}

export interface DrawOptions extends CallOptions {
  /** Sees every step, some of them with previews; without it no previews are made. */
  onstep?: (step: Step) => void;
  /** False: steps without pictures. */
  previews?: boolean;
}

export interface DescribeOptions extends CallOptions {
  /** Sees the answer grow, each time all of it so far. */
  ontoken?: (text: string) => void;
}

export interface Adapter {
  vendor: string;
  architecture: string;
  description: string;
  software: boolean;
  features: string[];
  maxStorageBinding: number;
  /** Time of a short matrix product on a software adapter, and of the same on the processor. */
  gpuMs?: number;
  cpuMs?: number;
}

export interface Storage {
  /** Whether weights are kept in the browser's storage, or only as long as the page is open. */
  kind: 'opfs' | 'memory';
  persisted: boolean;
  usage: number;
  quota: number;
}

export interface Capabilities {
  /** In use, or what 'auto' would choose. */
  backend: 'webgpu' | 'cpu';
  /** Why, in a sentence. */
  reason: string;
  adapter?: Adapter;
  simd: boolean;
  memory: number;
  storage: Storage;
  model?: Model;
  version: string;
}

export interface EngineEventMap {
  /** How far a load is; other calls tell their `onprogress`. */
  progress: CustomEvent<Progress>;
  /** A model is loaded. */
  ready: CustomEvent<Model>;
  /** The GPU went away or the worker crashed. `recovering`: a new worker loads the model again and `ready` follows; else `load` starts one. */
  devicelost: CustomEvent<{ reason: string; recovering: boolean }>;
}
