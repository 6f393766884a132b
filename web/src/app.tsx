// The page: a field for words above, the views below, a photo over them.

import { Copy, FolderSync, Images, Minus, Moon, Plus, Sun, WifiOff } from "lucide-preact";
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { serviceState, thumbnail, unlock } from "./api";
import { go, place, query, type View } from "./address";
import { Answers } from "./answers";
import { Breadcrumbs } from "./breadcrumbs";
import { Duplicates } from "./duplicates";
import { FilterChips } from "./filters";
import { DropTarget, notice } from "./giving";
import { like_ } from "./grid";
import { Indexing } from "./indexing";
import { asks, type Like } from "./query";
import { PhotoView } from "./photo_view";
import { Photos } from "./photos";
import { SearchField } from "./search_field";
import { Stage } from "./stage";

const VIEWS: [View, string, typeof Images][] = [
  ["photos", "Photos", Images], ["duplicates", "Duplicates", Copy], ["index", "Index", FolderSync],
];
const TITLES: Record<View, string> = { photos: "virtue", duplicates: "Duplicates · virtue", index: "Index · virtue" };

export function App() {
  const { view, open, at } = place.value;
  const asked = query.value;
  useTheme();
  useEffect(() => {
    document.title = view === "photos" && asked.text ? `${asked.text} · virtue` : TITLES[view];
  }, [view, asked]);
  const isOpen = open !== null;
  return (
    <>
      <a class="skip" href="#main" inert={isOpen} onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the photos</a>
      <div class="page" inert={isOpen}>
        <header class="header">
          <a class="brand" href="#/" aria-label="virtue, all photos" onClick={(event) => { event.preventDefault(); go({}); }}>
            <img src="/icon.svg" alt="" width="32" height="32" /> <span>virtue</span>
          </a>
          <SearchField />
          <nav class="nav" aria-label="Views">
            {VIEWS.map(([name, label, Icon]) => (
              <a href={name === "photos" ? "#/" : `#/${name}`} aria-current={view === name ? "page" : undefined} title={label}
                onClick={(event) => { if (event.metaKey || event.ctrlKey) return; event.preventDefault(); go({ view: name }); }}>
                <Icon /> <span>{label}</span>
              </a>
            ))}
          </nav>
          <button type="button" class="icon theme" aria-label={isDark() ? "Light colours" : "Dark colours"} title={isDark() ? "Light colours" : "Dark colours"} onClick={switchTheme}>
            {isDark() ? <Sun /> : <Moon />}
          </button>
        </header>
        {serviceState.value === "gone" && (
          <p class="banner" role="alert"><WifiOff /> The service does not answer. This page goes on by itself once it is back.</p>
        )}
        <main id="main" class={`main is-${view}`} tabIndex={-1}>
          {serviceState.value === "locked" ? <Locked /> : view === "duplicates" ? <Duplicates /> : view === "index" ? <Indexing /> : <Search />}
        </main>
      </div>
      {isOpen && serviceState.value !== "locked" && <PhotoView id={open} at={at} />}
      <DropTarget />
      <div class="notices" role="status">{notice.value && <p class="notice">{notice.value}</p>}</div>
    </>
  );
}

function Search() {
  const asked = query.value;
  const { picture, where, more, less } = asked;
  const hasChips = where.length + more.length + less.length > 0;
  return (
    <>
      <Breadcrumbs />
      {hasChips && (
        <ul class="chips query-chips" aria-label="What the query also holds">
          {more.map((like) => <LikeChip like={like} way="more" />)}
          {less.map((like) => <LikeChip like={like} way="less" />)}
          <FilterChips />
        </ul>
      )}
      <div class={picture ? "with-stage" : ""}>
        {picture && <Stage picture={picture} />}
        {asks(asked) ? <Answers /> : <Photos />}
      </div>
    </>
  );
}

function LikeChip({ like, way }: { like: Like; way: "more" | "less" }) {
  const Icon = way === "more" ? Plus : Minus;
  return (
    <li>
      <button type="button" class={`chip is-like is-${way}`} aria-label={`Remove: ${way} like this`} title="Remove" onClick={() => like_(like, null)}>
        <Icon /> <img src={thumbnail(like.photo, 128)} alt="" /> {way} like this
      </button>
    </li>
  );
}

function Locked() {
  const [token, setToken] = useState("");
  const [error, setError] = useState("");
  const open = (event: Event) => {
    event.preventDefault();
    unlock(token.trim()).catch(() => setError("This is not the token."));
  };
  return (
    <form class="card locked" onSubmit={open}>
      <h2>A token is needed</h2>
      <p>It was printed when the service was started, or is in its token file.</p>
      <label class="field"><span>Token</span><input type="password" value={token} autocomplete="current-password" onInput={(event) => setToken(event.currentTarget.value)} /></label>
      {error && <p role="alert" class="is-error">{error}</p>}
      <div class="panel-buttons"><button type="submit" class="button primary">Open</button></div>
    </form>
  );
}

// -- light and dark -------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(dark.matches);
dark.addEventListener("change", () => (systemIsDark.value = dark.matches));
const theme = signal(localStorage.getItem("theme"));

const isDark = () => (theme.value ? theme.value === "dark" : systemIsDark.value);

function switchTheme() {
  const next = isDark() ? "light" : "dark";
  const isOfSystem = (next === "dark") === systemIsDark.value;
  theme.value = isOfSystem ? null : next;
  if (isOfSystem) localStorage.removeItem("theme");
  else localStorage.setItem("theme", next);
}

function useTheme() {
  const is = isDark() ? "dark" : "light";
  useEffect(() => {
    document.documentElement.dataset.theme = is;
  }, [is]);
}
