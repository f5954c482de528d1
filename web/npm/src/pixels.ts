// Pixels of anything that a page may have: files, canvases, elements, of this window or another.

import { EngineError } from './error.ts';
import type { Picture } from './types.d.ts';

/** The largest side of a picture that goes to the worker, in pixels; models see far less. */
const MAX_SIDE = 2048;
/** The largest side of a picture that is retouched, in pixels. */
export const MAX_PICTURE = 8192;

/** Pixels on their way to the worker: red, green, blue and opacity, row by row. */
export interface Pixels {
  width: number;
  height: number;
  pixels: Uint8Array;
}

/** The name of a thing's class, which `instanceof` does not know of another window's. */
function kindOf(thing: unknown): string {
  return Object.prototype.toString.call(thing).slice(8, -1);
}

export function isImageData(picture: unknown): picture is ImageData {
  return kindOf(picture) === 'ImageData';
}

export function isBlob(picture: unknown): picture is Blob {
  return ['Blob', 'File'].includes(kindOf(picture));
}

function failure(text: string, hint: string): EngineError {
  return new EngineError({ code: 'image', text, hint });
}

/** A picture as canvases draw it. Whoever gets a bitmap that was not given closes it. */
export async function drawable(picture: Picture): Promise<Exclude<Picture, ImageData | Blob>> {
  try {
    if (isImageData(picture) || isBlob(picture)) return await createImageBitmap(picture);
    // An element may have an address and no pixels yet.
    if (kindOf(picture) === 'HTMLImageElement') await (picture as HTMLImageElement).decode();
  } catch (error) {
    throw failure(`The picture cannot be read: ${(error as Error).message}`, 'Choose a PNG, JPEG, WebP, GIF or AVIF picture.');
  }
  return picture as Exclude<Picture, ImageData | Blob>;
}

/** Width and height of a picture in its own pixels. */
export function sizeOf(picture: Picture): [number, number] {
  const { naturalWidth, naturalHeight } = picture as HTMLImageElement;
  const { videoWidth, videoHeight } = picture as HTMLVideoElement;
  const { displayWidth, displayHeight } = picture as VideoFrame;
  const { width, height } = picture as ImageData;
  return [naturalWidth ?? videoWidth ?? displayWidth ?? width, naturalHeight ?? videoHeight ?? displayHeight ?? height];
}

/** The picture on a canvas of its own shape, at most `side` pixels a side. */
export async function canvasOf(picture: Picture, side: number = MAX_SIDE): Promise<OffscreenCanvas> {
  const source = await drawable(picture);
  try {
    const [width, height] = sizeOf(source);
    if (!(width > 0 && height > 0)) throw failure('The picture has no pixels.', 'Choose another one.');
    const scale = Math.min(1, side / Math.max(width, height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
    pixelContext(canvas).drawImage(source, 0, 0, canvas.width, canvas.height);
    return canvas;
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw failure(`The picture cannot be drawn: ${(error as Error).message}`, 'Choose a PNG, JPEG, WebP, GIF or AVIF picture.');
  } finally {
    if (source !== picture) (source as ImageBitmap).close();
  }
}

/** The pixels of a picture. */
export async function pixelsOf(picture: Picture): Promise<Pixels> {
  return read(await canvasOf(picture));
}

/**
 * The pixels of a mask over a picture of `width` x `height`: white where anything of the mask is painted, that is, where it is nearer to opaque white
 * than to black or to nothing. A mask of another size is stretched over the picture, and its smallest spot still counts.
 */
export async function maskOf(mask: Picture, { width, height }: Pick<Pixels, 'width' | 'height'>): Promise<Pixels> {
  const { width: w, height: h, pixels } = read(await canvasOf(mask, MAX_PICTURE));
  const over = new Uint8Array(4 * width * height);
  for (let at = 3; at < over.length; at += 4) over[at] = 255;
  for (let y = 0; y < h; y++) {
    const [top, bottom] = [Math.floor((y * height) / h), Math.ceil(((y + 1) * height) / h)];
    for (let x = 0; x < w; x++) {
      if (!isPainted(pixels, 4 * (y * w + x))) continue;
      const [left, right] = [Math.floor((x * width) / w), Math.ceil(((x + 1) * width) / w)];
      for (let row = top; row < bottom; row++) over.fill(255, 4 * (row * width + left), 4 * (row * width + right));
    }
  }
  return { width, height, pixels: over };
}

/** Whether the pixel at byte `at` is nearer to opaque white than to black, on black where it is transparent. */
function isPainted(pixels: Uint8Array, at: number): boolean {
  const value = (pixels[at] ?? 0) + (pixels[at + 1] ?? 0) + (pixels[at + 2] ?? 0);
  return value * (pixels[at + 3] ?? 0) > (3 * 255 * 255) / 2;
}

/** For pixels to be read. */
export function pixelContext(canvas: OffscreenCanvas): OffscreenCanvasRenderingContext2D {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw failure('The browser has no room for a canvas.', 'Close other pages, or choose a smaller picture.');
  return context;
}

function read(canvas: OffscreenCanvas): Pixels {
  const { width, height } = canvas;
  return { width, height, pixels: new Uint8Array(pixelContext(canvas).getImageData(0, 0, width, height).data.buffer) };
}

/** Pixels of the worker as a page shows them. */
export function imageData({ width, height, pixels }: Pixels): ImageData {
  return new ImageData(new Uint8ClampedArray(pixels.buffer as ArrayBuffer, pixels.byteOffset, pixels.byteLength), width, height);
}
