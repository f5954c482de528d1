// What the browser offers by callbacks only: pictures kept in IndexedDB, and the clipboard. Used by src/externs.rs.

/** The files of all pictures of the history by id, also where the browser keeps none (private windows). */
const blobs = new Map();

const database = new Promise((resolve, reject) => {
  const request = indexedDB.open('unigen', 1);
  request.onupgradeneeded = () => request.result.createObjectStore('pictures', { keyPath: 'id' });
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});
database.catch(() => {});

/** Runs `work` on the store of pictures; the value of the request that it returns. */
async function store(mode, work) {
  const transaction = (await database).transaction('pictures', mode);
  const request = work(transaction.objectStore('pictures'));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** All kept pictures, oldest first: `{ entry, blob }`. */
export async function keptPictures() {
  const rows = await store('readonly', (pictures) => pictures.getAll());
  for (const { id, blob } of rows) blobs.set(id, blob);
  return rows;
}

export async function keepPicture(id, entry, blob) {
  blobs.set(id, blob);
  await store('readwrite', (pictures) => pictures.put({ id, entry, blob }));
}

export async function dropPicture(id) {
  blobs.delete(id);
  await store('readwrite', (pictures) => pictures.delete(id));
}

/** Puts a picture on the clipboard, also with the bytes of its file: browsers drop the record from plain `image/png`. */
export async function copyPicture(id) {
  const blob = blobs.get(id);
  const formats = { 'image/png': blob };
  if (ClipboardItem.supports?.('web image/png')) formats['web image/png'] = blob;
  await navigator.clipboard.write([new ClipboardItem(formats)]);
}
