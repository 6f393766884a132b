// Texts of strangers and numbers, as people read them.

import type { Hit } from "./api";

// Controls, marks that turn the direction of writing, and halves of characters (bytes in no encoding).
const ODD = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

export function shown(text: string): string {
  return text.replace(ODD, "\ufffd");
}

export function fileName(path: string): string {
  return shown(path.slice(path.lastIndexOf("/") + 1) || path);
}

export function folderName(path: string): string {
  return shown(path.slice(0, Math.max(path.lastIndexOf("/"), 1)));
}

export function nameOf(thing: { name: string | null; path?: string; paths?: string[] }): string {
  return thing.name ? shown(thing.name) : fileName(thing.path ?? thing.paths?.[0] ?? "");
}

export const SURENESS = { likely: "likely", possible: "possible", unsure: "not sure" } as const;

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function fileSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  const units = ["kB", "MB", "GB"];
  let size = bytes / 1000;
  let at = 0;
  while (size >= 1000 && at < 2) [size, at] = [size / 1000, at + 1];
  return `${size.toLocaleString("en", { maximumFractionDigits: 1 })} ${units[at]}`;
}

export function day(taken: string, withTime = false): string {
  const date = new Date(taken.slice(0, 19));
  if (Number.isNaN(date.getTime())) return shown(taken);
  const options: Intl.DateTimeFormatOptions = { day: "numeric", month: "long", year: "numeric" };
  return date.toLocaleString("en", withTime ? { ...options, hour: "2-digit", minute: "2-digit" } : options);
}

export function month(taken: string | null): string {
  const date = taken ? new Date(taken.slice(0, 19)) : null;
  if (!date || Number.isNaN(date.getTime())) return "No date";
  return date.toLocaleString("en", { month: "long", year: "numeric" });
}

// -- hits as files --------------------------------------------------------------------------------

const COLUMNS = [
  "rank", "score", "percentile", "sureness", "path", "box", "width", "height", "kind", "caption", "region_id",
  "region_box", "object", "photo_id", "via", "taken", "camera", "rating", "tags", "other_paths", "copies", "name",
] as const satisfies readonly (keyof Hit)[];

export function asCsv(hits: Hit[]): string {
  const lines = hits.map((hit) => COLUMNS.map((column) => cell(hit[column])).join(","));
  return [COLUMNS.join(","), ...lines].join("\r\n") + "\r\n";
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  let text = Array.isArray(value) ? value.join(typeof value[0] === "number" ? "," : "; ") : String(value);
  if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`; // a spreadsheet would run it
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function saveFile(name: string, content: string, type: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea"); // addresses without https have no clipboard
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
