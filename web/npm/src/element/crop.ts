// The part of a picture that a model sees.

import { sizeOf } from '../pixels.ts';

/** The largest part in the middle of `picture` that has the shape of `width` x `height`. */
export function middle(picture: OffscreenCanvas | HTMLCanvasElement | ImageBitmap, width: number, height: number): OffscreenCanvas {
  const [w, h] = sizeOf(picture);
  const scale = Math.min(w / width, h / height);
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  canvas.getContext('2d')?.drawImage(picture, Math.round((canvas.width - w) / 2), Math.round((canvas.height - h) / 2));
  return canvas;
}
