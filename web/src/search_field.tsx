// The one field for words, with the picture that is asked with beside them.

import { ImagePlus, Search, X } from "lucide-preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { go, place, query, refine } from "./address";
import { PictureThumbnail } from "./breadcrumbs";
import { FiltersButton } from "./filters";
import { pickPicture } from "./giving";
import { removePicture } from "./stage";

const TYPING_PAUSE = 350; // milliseconds after the last key

export function SearchField() {
  const { text, picture } = query.value;
  const [typed, setTyped] = useState(text);
  const timer = useRef(0);
  const field = useRef<HTMLInputElement>(null);
  const isOwn = useRef(""); // what this field itself asked for last

  useEffect(() => {
    if (text !== isOwn.current) setTyped(text);
    isOwn.current = text;
  }, [text]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || place.value.open !== null) return;
      if ((event.target as HTMLElement).matches?.("input, textarea, select")) return;
      event.preventDefault();
      field.current?.focus();
      field.current?.select();
    };
    window.addEventListener("keydown", onKey);
    return () => {
      clearTimeout(timer.current);
      window.removeEventListener("keydown", onKey);
    };
  }, []);

  const ask = (words: string) => {
    clearTimeout(timer.current);
    const { view, query } = place.value;
    if (view === "photos" && words.trim() === query.text) return;
    isOwn.current = words.trim();
    // Letter after letter is one step of Back.
    if (view !== "photos") go({ query: { ...query, text: words.trim() } });
    else refine({ text: words.trim() }, query.text && words.trim() ? "replace" : "push");
  };
  const type = (words: string) => {
    setTyped(words);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => ask(words), TYPING_PAUSE);
  };
  return (
    <form class="search" role="search" onSubmit={(event) => { event.preventDefault(); ask(typed); }}>
      <Search class="search-icon" aria-hidden="true" />
      {picture && (
        <button type="button" class="search-picture" aria-label="Remove the picture" title="Remove the picture" onClick={removePicture}>
          <PictureThumbnail picture={picture} /> <X />
        </button>
      )}
      <input
        ref={field}
        type="text"
        name="words"
        inputMode="search"
        enterkeyhint="search"
        autocomplete="off"
        aria-label={picture ? "Words beside the picture" : "What to look for"}
        placeholder={picture ? "Add words: the same in blue" : "Search your photos"}
        value={typed}
        onInput={(event) => type(event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Escape" && typed && (event.preventDefault(), setTyped(""), ask(""))}
      />
      {typed && (
        <button type="button" class="icon" aria-label="Clear the words" onClick={() => { setTyped(""); ask(""); field.current?.focus(); }}><X /></button>
      )}
      <button type="button" class="icon" aria-label="Search with a picture" title="Search with a picture: choose, drop or paste one" onClick={pickPicture}><ImagePlus /></button>
      <FiltersButton />
    </form>
  );
}
