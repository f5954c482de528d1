// What the browser offers by callbacks only, used by src/externs.rs: pictures kept in IndexedDB and shared by the tabs, the clipboard, files, and the
// address of the page.

import { canvasOf } from '../unigen/pixels.js';
import { writePng } from '../unigen/png.js';

/** The files of all pictures of the history by id, also where the browser keeps none (private windows), and those that were deleted last. */
const blobs = new Map();

const database = new Promise((resolve, reject) => {
  const request = indexedDB.open('unigen', 1);
  request.onupgradeneeded = () => request.result.createObjectStore('pictures', { keyPath: 'id' });
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});
database.catch(() => {});

/** Other tabs of this site. */
const tabs = new BroadcastChannel('unigen-history');

/**
 * Runs `work` on the store of pictures; the value of the request that it returns. What it writes is handed to the browser whole and at once:
 * a page that is left in the same moment loses none of it.
 */
async function store(mode, work) {
  const transaction = (await database).transaction('pictures', mode);
  const request = work(transaction.objectStore('pictures'));
  if (mode === 'readwrite') transaction.commit();
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** All kept pictures, oldest first: `{ id, entry, blob }`. */
export async function keptPictures() {
  const rows = await store('readonly', (pictures) => pictures.getAll());
  for (const { id, blob } of rows) blobs.set(id, blob);
  return rows;
}

/** Keeps pictures, `{ id, entry, blob }`; without a file the one of that id that is here. */
export async function keepPictures(kept) {
  const rows = kept.map(({ id, entry, blob }) => ({ id, entry, blob: blob ?? blobs.get(id) }));
  for (const { id, blob } of rows) blobs.set(id, blob);
  await store('readwrite', (pictures) => {
    for (const row of rows) pictures.put(row);
  });
  tabs.postMessage(null);
}

/** Drops pictures, whose files stay here for `keepPictures` until they are forgotten. */
export async function dropPictures(ids) {
  await store('readwrite', (pictures) => {
    for (const id of ids) pictures.delete(id);
  });
  tabs.postMessage(ids);
}

export function forgetPicture(id) {
  blobs.delete(id);
}

/** Calls back when another tab has changed the history, with the ids of pictures that it has dropped. */
export function watchPictures(changed) {
  tabs.onmessage = ({ data }) => changed(data);
}

/** Puts a picture on the clipboard, also with the bytes of its file: browsers drop the record from plain `image/png`. */
export async function copyPicture(id) {
  const blob = blobs.get(id);
  // Browsers take no other kind.
  const png = blob.type === 'image/png' ? blob : writePng(blob, {});
  const formats = { 'image/png': png };
  if (blob === png && ClipboardItem.supports?.('web image/png')) formats['web image/png'] = blob;
  await navigator.clipboard.write([new ClipboardItem(formats)]);
}

/** Puts a text on the clipboard. */
export async function copyText(text) {
  await navigator.clipboard.writeText(text);
}

/** Downloads the file of a picture, or a larger PNG file of it with its record. */
export async function savePicture(id, name, scale, record) {
  const blob = blobs.get(id);
  const file = scale === 1 ? blob : await writePng(await enlarged(blob, scale), record);
  const ending = { 'image/jpeg': 'jpg', 'image/webp': 'webp', 'image/gif': 'gif', 'image/avif': 'avif', 'image/svg+xml': 'svg' }[file.type] ?? 'png';
  const href = URL.createObjectURL(file);
  Object.assign(document.createElement('a'), { href, download: `${name}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

async function enlarged(blob, scale) {
  const picture = await canvasOf(blob, Infinity);
  const canvas = new OffscreenCanvas(picture.width * scale, picture.height * scale);
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** What the page's address asks for. */
export function asked() {
  const query = new URLSearchParams(location.search);
  const seed = query.get('seed');
  const whole = /^\d{1,16}$/.test(seed ?? '') && Number.isSafeInteger(Number(seed));
  return { prompt: query.get('prompt')?.slice(0, 2000), seed: whole ? Number(seed) : undefined, model: query.get('model') ?? undefined, mode: query.get('mode') ?? undefined };
}

/** The page's address with what it is to ask for; nothing of it is sent anywhere by itself. */
export function linkTo(wishes) {
  const url = new URL(location.href);
  url.hash = '';
  url.search = new URLSearchParams(Object.entries(wishes).filter(([, value]) => value !== undefined && value !== null));
  return url.href;
}
