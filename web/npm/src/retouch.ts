// A drawn part in its picture: under a mask, at the picture's own size, fading out towards the mask's edge. No pixel beyond the mask changes.

import { canvasOf, pixelContext, type Pixels } from './pixels.ts';

/** How far inside the mask the old picture shines through, as a part of the picture's shorter side. */
const SOFT = 0.02;
/** Lengths of a step along a row or a column and of a diagonal one: Borgefors' chamfer distance. */
const [STRAIGHT, DIAGONAL] = [3, 4];

/** How much of each pixel is drawn, 0 to 255: nothing outside of the mask's white, all of it deep inside. */
export function feather({ width, height, pixels }: Pixels): Uint8Array {
  const far = new Uint16Array(width * height);
  for (let at = 0; at < far.length; at++) far[at] = pixels[4 * at] ? 0xffff : 0;
  // Beyond the picture nothing needs to be kept, so its edges count as inside.
  const near = (at: number, x: number, back: number, from: number, to: number) => {
    let least = far[at] ?? 0;
    for (let dx = from; dx <= to; dx++) {
      const beside = x + dx;
      if (beside >= 0 && beside < width) least = Math.min(least, (far[at + back + dx] ?? 0xffff) + (dx === 0 ? STRAIGHT : DIAGONAL));
    }
    return least;
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      if (!far[at]) continue;
      const above = y > 0 ? near(at, x, -width, -1, 1) : (far[at] ?? 0);
      far[at] = x > 0 ? Math.min(above, (far[at - 1] ?? 0) + STRAIGHT) : above;
    }
  }
  let deepest = 0;
  for (let y = height - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--) {
      const at = y * width + x;
      if (!far[at]) continue;
      const below = y < height - 1 ? near(at, x, width, -1, 1) : (far[at] ?? 0);
      far[at] = x < width - 1 ? Math.min(below, (far[at + 1] ?? 0) + STRAIGHT) : below;
      deepest = Math.max(deepest, far[at] ?? 0);
    }
  }
  // A spot is drawn in full as well, if only in its middle.
  const soft = Math.max(STRAIGHT, Math.min(STRAIGHT * SOFT * Math.min(width, height), deepest / 2));
  return Uint8Array.from(far, (distance) => Math.min(255, Math.ceil((255 * distance) / soft)));
}

/** What was `drawn` over all of the picture, under the white of a mask of the picture's size. What was transparent there is drawn in full. */
export async function retouch(picture: OffscreenCanvas, drawn: ImageData, mask: Pixels): Promise<ImageData> {
  const { width, height } = picture;
  const whole = pixelContext(picture).getImageData(0, 0, width, height);
  const fresh = (await stretched(drawn, width, height)).data;
  const { data } = whole;
  const weights = feather(mask);
  for (let at = 0; at < data.length; at += 4) {
    const weight = weights[at / 4];
    if (!weight) continue;
    const kept = ((1 - weight / 255) * (data[at + 3] ?? 0)) / 255;
    for (let channel = at; channel < at + 3; channel++) data[channel] = (fresh[channel] ?? 0) * (1 - kept) + (data[channel] ?? 0) * kept;
    data[at + 3] = 255;
  }
  return whole;
}

async function stretched(image: ImageData, width: number, height: number): Promise<ImageData> {
  if (image.width === width && image.height === height) return image;
  const canvas = new OffscreenCanvas(width, height);
  const context = pixelContext(canvas);
  context.imageSmoothingQuality = 'high';
  context.drawImage(await canvasOf(image), 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}
