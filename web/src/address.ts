// Where one is: the part of the address behind #, which never goes to a server. Back and Reload work by it.

import { computed, signal } from "@preact/signals";
import { MAX_CHAIN, NOTHING, readId, readQuery, writeQuery, type Asked, type Query } from "./query";

export type View = "photos" | "duplicates" | "index";

export interface Place extends Asked {
  view: View;
  /** The photo that is open, over whatever lies below; null: none. */
  open: number | null;
  /** The region of it that is looked at; null: none. */
  at: number | null;
}

export function readPlace(hash: string): Place {
  const [path, search = ""] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const params = new URLSearchParams(search);
  return {
    view: path === "duplicates" || path === "index" ? path : "photos",
    query: readQuery(params),
    chain: params.getAll("from").slice(-MAX_CHAIN),
    open: readId(params.get("open")),
    at: readId(params.get("at")),
  };
}

export function writePlace(place: Partial<Place>): string {
  const params = writeQuery(place.query ?? NOTHING);
  for (const step of place.chain ?? []) params.append("from", step);
  if (place.open) params.set("open", String(place.open));
  if (place.open && place.at) params.set("at", String(place.at));
  const view = place.view && place.view !== "photos" ? place.view : "";
  const search = params.toString();
  return `#/${view}${search ? `?${search}` : ""}`;
}

const hash = signal(location.hash);
window.addEventListener("hashchange", () => (hash.value = location.hash));

export const place = computed(() => readPlace(hash.value));
/** The query alone: what is open over it does not change it. */
const queryText = computed(() => writeQuery(place.value.query).toString());
export const query = computed(() => readQuery(new URLSearchParams(queryText.value)));

export function go(next: Partial<Place>, how: "push" | "replace" = "push") {
  const address = writePlace(next);
  if (address === location.hash) return;
  // By hand and not by location.hash, so that nothing waits for an event.
  if (how === "replace") history.replaceState(history.state, "", address);
  else history.pushState({ inside: true }, "", address);
  hash.value = address;
}
window.addEventListener("popstate", () => (hash.value = location.hash));

/** Asks for something else that was found by the way: the breadcrumbs lead back. */
export function goOn(next: Query) {
  const { query, chain } = place.value;
  const here = writeQuery(query).toString();
  const isSomething = here !== "" && here !== writeQuery(next).toString();
  go({ query: next, chain: (isSomething ? [...chain, here] : chain).slice(-MAX_CHAIN) });
}

/** Changes what is asked for, here. */
export function refine(change: Partial<Query>, how: "push" | "replace" = "push") {
  const { query, chain } = place.value;
  go({ query: { ...query, ...change }, chain }, how);
}

/** Closes what is open: Back where that leads there. */
export function closePhoto() {
  if (history.state?.opened) history.back();
  else go({ ...place.value, open: null, at: null }, "replace");
}

export function openPhoto(photo: number, at: number | null) {
  const isOpen = place.value.open !== null;
  go({ ...place.value, open: photo, at }, isOpen ? "replace" : "push");
  if (!isOpen) history.replaceState({ ...history.state, opened: true }, "");
}
