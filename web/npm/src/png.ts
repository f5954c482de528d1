// Pictures as PNG files that remember how they were made, and what such a file remembers.
//
// The record is JSON in an iTXt chunk named `unigen`; prompt and program also stand in the chunks that other programs show
// (`Description`, `Software`). A file comes from anywhere: lengths are bounded, checksums checked, and only known fields of
// the right type and range come back. PNG: https://www.w3.org/TR/png-3/

import { canvasOf } from './pixels.ts';
import type { Picture } from './types.d.ts';

/** How a picture was made. A record read from a file has only fields of the right type and range; text in it is untrusted. */
export interface PictureRecord {
  task?: 'generate' | 'edit' | 'inpaint';
  /** The prompt, or the instruction of an edit. */
  prompt?: string;
  /** What the drawing was led away from. */
  negative?: string;
  seed?: number;
  /** Name of the model, and what tells its weights from all others. */
  model?: string;
  modelHash?: string;
  steps?: number;
  guidance?: number;
  imageGuidance?: number;
  temperature?: number;
}

/** Longest record read or written, in bytes. */
const MAX_RECORD = 64 * 1024;
/** Most chunks looked at in a file, and the largest file. */
const MAX_CHUNKS = 10_000;
const MAX_FILE = 64 * 1024 * 1024;

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const NAME = 'unigen';

type Check = (value: unknown) => unknown;
const text =
  (limit: number): Check =>
  (value) => (typeof value === 'string' ? value.slice(0, limit) : undefined);
const number =
  (low: number, high: number, whole = false): Check =>
  (value) =>
    typeof value === 'number' && value >= low && value <= high && (!whole || Number.isInteger(value)) ? value : undefined;

/** The fields of a record and what may stand in them. */
const FIELDS: { [name in keyof PictureRecord]-?: Check } = {
  task: (value) => (['generate', 'edit', 'inpaint'].includes(value as string) ? value : undefined),
  prompt: text(4000),
  negative: text(4000),
  seed: number(0, Number.MAX_SAFE_INTEGER, true),
  model: text(200),
  modelHash: text(200),
  steps: number(1, 1000, true),
  guidance: number(0, 100),
  imageGuidance: number(0, 100),
  temperature: number(0, 100),
};

/** The fields of `record` that are what they should be. */
export function checkRecord(record: unknown): PictureRecord {
  const checked: { [name: string]: unknown } = {};
  if (record === null || typeof record !== 'object') return checked;
  for (const [name, check] of Object.entries(FIELDS)) {
    const value = Object.hasOwn(record, name) ? check((record as typeof checked)[name]) : undefined;
    if (value !== undefined) checked[name] = value;
  }
  return checked as PictureRecord;
}

/** A PNG file of the picture with its record. */
export async function writePng(picture: Picture, record: PictureRecord): Promise<Blob> {
  // At its full size, whatever that is.
  const png = await (await canvasOf(picture, Infinity)).convertToBlob({ type: 'image/png' });
  return new Blob([withRecord(new Uint8Array(await png.arrayBuffer()), record)], { type: 'image/png' });
}

/** The record of a picture file, or null where it has none that can be trusted to be whole. */
export async function readPng(file: Blob): Promise<PictureRecord | null> {
  if (file.size > MAX_FILE) return null;
  return recordOf(new Uint8Array(await file.arrayBuffer()));
}

/** The bytes of a PNG file with a record. */
export function withRecord(bytes: Uint8Array, record: PictureRecord): Uint8Array<ArrayBuffer> {
  const checked = checkRecord(record);
  const { prompt = '' } = checked;
  const chunks = [international(NAME, JSON.stringify({ version: 1, ...checked })), international('Software', 'UniGen in Rust')];
  if (prompt) chunks.push(international('Description', prompt));
  // Behind the header, which is the first chunk and of fixed length.
  const head = SIGNATURE.length + 12 + 13;
  return concat([bytes.subarray(0, head), ...chunks, bytes.subarray(head)]);
}

/** The record in the bytes of a PNG file, or null. */
export function recordOf(bytes: Uint8Array): PictureRecord | null {
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = SIGNATURE.length;
  for (let i = 0; i < MAX_CHUNKS && at + 12 <= bytes.length; i++) {
    const length = view.getUint32(at);
    const end = at + 12 + length;
    if (end > bytes.length) return null;
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === 'IEND') return null;
    if (kind === 'iTXt' && length <= MAX_RECORD) {
      const json = recordText(bytes.subarray(at + 8, end - 4));
      if (json !== null && view.getUint32(end - 4) === crc32(bytes.subarray(at + 4, end - 4))) return parse(json);
    }
    at = end;
  }
  return null;
}

/** The text of an uncompressed iTXt chunk that holds a record, else null. */
function recordText(body: Uint8Array): string | null {
  const prefix = new TextEncoder().encode(`${NAME}\0\0\0`);
  if (prefix.some((byte, i) => body[i] !== byte)) return null;
  let start = prefix.length;
  // Language and translated keyword, each ended by zero.
  for (let i = 0; i < 2; i++) {
    const zero = body.indexOf(0, start);
    if (zero < 0) return null;
    start = zero + 1;
  }
  return new TextDecoder().decode(body.subarray(start));
}

function parse(json: string): PictureRecord | null {
  try {
    const record = checkRecord(JSON.parse(json));
    return Object.keys(record).length > 0 ? record : null;
  } catch {
    return null;
  }
}

/** An uncompressed iTXt chunk. */
function international(keyword: string, value: string): Uint8Array {
  const encode = (part: string) => new TextEncoder().encode(part);
  const content = encode(value).subarray(0, MAX_RECORD - 100);
  const body = concat([encode('iTXt'), encode(keyword), new Uint8Array(5), content]);
  const chunk = new Uint8Array(body.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4);
  chunk.set(body, 4);
  view.setUint32(chunk.length - 4, crc32(body));
  return chunk;
}

function concat(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
