// Ways to give a picture: drop it anywhere, paste it, or pick a file.

import { signal } from "@preact/signals";
import { ImagePlus } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { goOn, place } from "./address";
import { NOTHING } from "./query";
import { addUpload, isTooLarge } from "./uploads";

/** A sentence that is shown for a while. */
export const notice = signal<string | null>(null);
let timer = 0;

export function say(text: string) {
  notice.value = text;
  clearTimeout(timer);
  timer = window.setTimeout(() => (notice.value = null), 6_000);
}

export async function givePicture(file: Blob) {
  if (!file.size) return say("This file is empty.");
  if (isTooLarge(file)) return say("This picture has more than 48 MB. Give a smaller copy.");
  const upload = await addUpload(file);
  const { where, find } = place.value.query;
  goOn({ ...NOTHING, where, find, picture: { upload } });
}

export function pickPicture() {
  const field = document.createElement("input");
  field.type = "file";
  field.accept = "image/*,.heic,.heif,.avif,.jxl,.tif,.tiff,.dng,.cr2,.cr3,.nef,.arw,.orf,.rw2,.raf";
  field.id = "picture-file";
  field.hidden = true;
  field.addEventListener("change", () => {
    if (field.files?.[0]) givePicture(field.files[0]);
    field.remove();
  });
  document.getElementById("picture-file")?.remove();
  document.body.append(field);
  field.click();
}

function fileOf(data: DataTransfer | null): File | null {
  const files = [...(data?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0] ?? null;
}

export function DropTarget() {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const holds = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => {
      if (!holds(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (!event.relatedTarget) setOver(false);
    };
    const drop = (event: DragEvent) => {
      if (!holds(event)) return;
      event.preventDefault();
      setOver(false);
      const file = fileOf(event.dataTransfer);
      if (file) givePicture(file);
    };
    const paste = (event: ClipboardEvent) => {
      const file = fileOf(event.clipboardData);
      if (!file) return;
      event.preventDefault();
      givePicture(file);
    };
    window.addEventListener("dragover", over);
    window.addEventListener("dragleave", leave);
    window.addEventListener("drop", drop);
    window.addEventListener("paste", paste);
    return () => {
      window.removeEventListener("dragover", over);
      window.removeEventListener("dragleave", leave);
      window.removeEventListener("drop", drop);
      window.removeEventListener("paste", paste);
    };
  }, []);
  if (!isOver) return null;
  return (
    <div class="drop" aria-hidden="true">
      <ImagePlus />
      Drop it: find what it shows
    </div>
  );
}
