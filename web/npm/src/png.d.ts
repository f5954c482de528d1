/** Pictures as PNG files that remember how they were made, and what such a file remembers. */

/** How a picture was made. A record read from a file has only fields of the right type and range; text in it is untrusted. */
export interface PictureRecord {
  task?: 'generate' | 'edit' | 'inpaint';
  /** The prompt, or the instruction of an edit. */
  prompt?: string;
  seed?: number;
  /** Name of the model, and what tells its weights from all others. */
  model?: string;
  modelHash?: string;
  steps?: number;
  guidance?: number;
  imageGuidance?: number;
  temperature?: number;
}

/** A PNG file of the picture with its record. */
export function writePng(picture: ImageData | ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas, record: PictureRecord): Promise<Blob>;
/** The record of a picture file, or null where it has none that is whole. */
export function readPng(file: Blob): Promise<PictureRecord | null>;
/** The same on the bytes of a file. */
export function withRecord(bytes: Uint8Array, record: PictureRecord): Uint8Array;
export function recordOf(bytes: Uint8Array): PictureRecord | null;
/** The fields of a record that are what they should be. */
export function checkRecord(record: unknown): PictureRecord;
