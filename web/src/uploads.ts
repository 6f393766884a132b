// Pictures that were given, kept in this browser, so that Reload and Back find them again.

const STORE = "pictures";
const MAX_KEPT = 30;
const MAX_BYTES = 48 * 1024 * 1024; // as the service takes them

interface Upload {
  key: string;
  file: Blob;
  added: number;
}

const known = new Map<string, Blob>();

export const isTooLarge = (file: Blob) => file.size > MAX_BYTES;

/** Keeps a picture; returns its key. A browser that keeps nothing has it until Reload. */
export async function addUpload(file: Blob): Promise<string> {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, "0")).join("");
  known.set(key, file);
  try {
    const store = await openStore("readwrite");
    await done(store.put({ key, file, added: Date.now() } satisfies Upload));
    const all: Upload[] = await done(store.getAll());
    all.sort((one, other) => other.added - one.added);
    for (const old of all.slice(MAX_KEPT)) store.delete(old.key);
  } catch (error) {
    console.warn("this browser does not keep pictures", error);
  }
  return key;
}

export async function loadUpload(key: string): Promise<Blob | null> {
  const found = known.get(key);
  if (found) return found;
  try {
    const store = await openStore("readonly");
    const kept: Upload | undefined = await done(store.get(key));
    if (kept) known.set(key, kept.file);
    return kept?.file ?? null;
  } catch (error) {
    console.warn("this browser does not keep pictures", error);
    return null;
  }
}

function openStore(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("virtue", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "key" });
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => resolve(opening.result.transaction(STORE, mode).objectStore(STORE));
  });
}

function done<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}
