// The answers to a query, best first, as many as are scrolled to.

import { Crop, Download, Image } from "lucide-preact";
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { search, type Hit } from "./api";
import { place, query } from "./address";
import { Grid, HitTile } from "./grid";
import { type Find, type Query } from "./query";
import { refine } from "./address";
import { Failed, Loading, Message } from "./states";
import { asCsv, count, saveFile } from "./text";
import { useEnd, useRevision } from "./use";

const FIRST = 24; // hits that are asked for first, so that they come quickly
const NEXT = 48;
const MAX_SHOWN = 2_000;

/** The photos that are shown, in their order: arrow keys go from one to the next where one is open. */
export const shownPhotos = signal<number[]>([]);
const crops = signal(localStorage.getItem("crops") === "yes");

interface Found {
  hits: Hit[];
  isWhole: boolean;
  query: Query | null;
}

export function Answers() {
  const asked = query.value;
  const again = useRevision();
  const [found, setFound] = useState<Found>({ hits: [], isWhole: false, query: null });
  const [error, setError] = useState<Error | null>(null);
  const [isLoading, setLoading] = useState(true);
  const [attempt, setAttempt] = useState(0);
  const stopper = useRef(new AbortController());

  const load = async (before: Hit[]) => {
    stopper.current.abort();
    const mine = (stopper.current = new AbortController());
    setLoading(true);
    setError(null);
    const top = before.length ? NEXT : FIRST;
    try {
      const hits = await search(asked, top, before.length, mine.signal);
      if (mine.signal.aborted) return;
      const all = [...before, ...hits];
      setFound({ hits: all, isWhole: hits.length < top || all.length >= MAX_SHOWN, query: asked });
      shownPhotos.value = [...new Set(all.map((hit) => hit.photo_id))];
    } catch (failure) {
      if (mine.signal.aborted) return;
      setError(failure as Error);
    }
    setLoading(false);
  };

  useEffect(() => {
    load([]);
    return () => stopper.current.abort();
  }, [asked, again, attempt]);

  const isOfThis = found.query === asked;
  const end = useEnd(() => !isLoading && load(found.hits), isOfThis && !found.isWhole && !error);
  const { hits } = found;
  const isUnsure = hits.length > 0 && hits.every((hit) => hit.sureness === "unsure");

  if (error && !isOfThis) return <section class="answers"><Failed error={error} retry={() => setAttempt(attempt + 1)} /></section>;
  if (!found.query) return <section class="answers"><Loading words="Searching" /></section>;
  return (
    <section class={`answers ${isOfThis ? "" : "is-stale"}`} aria-label="Answers" aria-busy={isLoading}>
      <div class="answers-bar">
        <p class="answers-words" role="status">
          {hits.length > 0 && (isUnsure ? "Nothing sure; the nearest are" : summary(hits, found.isWhole))}
        </p>
        <FindChoice />
        {hits.length > 0 && <ViewChoice hits={hits} />}
      </div>
      {hits.length === 0 ? (
        <Message title="Nothing found">
          <p>{asked.where.length ? "No photo fits all filters." : "Try other words, or a larger box."}</p>
          {asked.where.length > 0 && (
            <button type="button" class="button" onClick={() => refine({ where: [] })}>Clear the filters</button>
          )}
        </Message>
      ) : (
        <Grid label="Answers">
          {hits.map((hit) => (
            <HitTile key={`${hit.photo_id} ${hit.region_id} ${hit.box} ${hit.caption}`} hit={hit} crops={crops.value} />
          ))}
        </Grid>
      )}
      {error && <Failed error={error} retry={() => load(hits)} />}
      <div ref={end} class="end" />
    </section>
  );
}

function summary(hits: Hit[], isWhole: boolean): string {
  const likely = hits.filter((hit) => hit.sureness === "likely").length;
  const all = isWhole ? count(hits.length, "answer") : "Best answers first";
  return likely && likely < hits.length ? `${likely} likely · ${all.toLowerCase()}` : all;
}

const FINDS: [Find, string][] = [["auto", "All"], ["regions", "Regions"], ["photos", "Photos"], ["captions", "Captions"]];

function FindChoice() {
  const { query } = place.value;
  return (
    <div class="choice" role="radiogroup" aria-label="What to find">
      {FINDS.map(([find, name]) => (
        <label class={query.find === find ? "is-chosen" : ""}>
          <input type="radio" name="find" value={find} checked={query.find === find} onChange={() => refine({ find })} />
          {name}
        </label>
      ))}
    </div>
  );
}

function ViewChoice({ hits }: { hits: Hit[] }) {
  const choose = (value: boolean) => {
    crops.value = value;
    localStorage.setItem("crops", value ? "yes" : "no");
  };
  return (
    <div class="answers-tools">
      <button type="button" class="icon" aria-pressed={crops.value} title={crops.value ? "Show whole photos" : "Show crops"}
        aria-label="Show crops" onClick={() => choose(!crops.value)}>
        {crops.value ? <Image /> : <Crop />}
      </button>
      <details class="menu" onClick={closeMenu}>
        <summary class="icon" title="Download this list" aria-label="Download this list"><Download /></summary>
        <div class="menu-items">
          <button type="button" onClick={() => saveFile("hits.csv", asCsv(hits), "text/csv")}>{count(hits.length, "hit")} as CSV</button>
          <button type="button" onClick={() => saveFile("hits.json", JSON.stringify({ hits }, null, 1) + "\n", "application/json")}>
            {count(hits.length, "hit")} as JSON
          </button>
        </div>
      </details>
    </div>
  );
}

function closeMenu(event: MouseEvent) {
  if ((event.target as HTMLElement).closest("button")) (event.currentTarget as HTMLDetailsElement).open = false;
}

