// One photo, large, with all that is known of it. Any region of it is the next query.

import { ArrowLeft, ChevronLeft, ChevronRight, Copy, Download, Minus, Pencil, Plus, ScanSearch, Star } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { fileOf, getCaptions, getNearest, getPhoto, getRegions, thumbnail, type Caption, type Photo, type Region } from "./api";
import { closePhoto, goOn, openPhoto, place, query } from "./address";
import { shownPhotos } from "./answers";
import { quoted } from "./filters";
import { say } from "./giving";
import { findLike, Grid, HitTile, like_ } from "./grid";
import { isSameLike, NOTHING, type Box } from "./query";
import { Failed } from "./states";
import { copyText, day, fileName, fileSize, folderName, nameOf, shown } from "./text";
import { useDialog, useLoaded } from "./use";

const FIRST_REGIONS = 12; // that are shown before one asks for all

export function PhotoView({ id, at }: { id: number; at: number | null }) {
  const photo = useLoaded((signal) => getPhoto(id, signal), [id]);
  const regions = useLoaded((signal) => getRegions(id, signal), [id]);
  const captions = useLoaded((signal) => getCaptions(id, signal), [id]);
  const [pointed, setPointed] = useState<Box | null>(null);
  const dialog = useDialog<HTMLDivElement>();
  const list = shownPhotos.value;
  const here = list.indexOf(id);
  const step = (by: number) => {
    const next = here < 0 ? undefined : list[here + by];
    if (next) openPhoto(next, null);
  };

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.target as HTMLElement).matches?.("input, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") closePhoto();
      else if (event.key === "ArrowLeft" && !isInGrid(event)) step(-1);
      else if (event.key === "ArrowRight" && !isInGrid(event)) step(1);
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });
  useEffect(() => {
    setPointed(null);
    dialog.current?.querySelector(".photo-side")?.scrollTo(0, 0);
  }, [id]);

  const found = photo.value?.photo_id === id ? photo.value : null;
  const parts = (regions.value ?? []).filter((region) => !region.is_full_image);
  const chosen = parts.find((region) => region.region_id === at) ?? null;
  const outlined = pointed ?? chosen?.box ?? null;

  return (
    <div class="photo-view" role="dialog" aria-modal="true" aria-label={found ? nameOf(found) : "Photo"} tabIndex={-1} ref={dialog}>
      <div class="photo-bar">
        <button type="button" class="icon" aria-label="Close" title="Close (Esc)" onClick={closePhoto}><ArrowLeft /></button>
        <h1><bdi>{found && nameOf(found)}</bdi></h1>
        {found && <Actions photo={found} region={chosen} />}
      </div>
      <div class="photo-picture">
        {photo.error ? (
          <Failed error={photo.error} />
        ) : (
          found && <Large photo={found} regions={parts} outlined={outlined} />
        )}
        {here > 0 && <button type="button" class="icon photo-step is-before" aria-label="Photo before" onClick={() => step(-1)}><ChevronLeft /></button>}
        {here >= 0 && here < list.length - 1 && (
          <button type="button" class="icon photo-step is-after" aria-label="Next photo" onClick={() => step(1)}><ChevronRight /></button>
        )}
      </div>
      <div class="photo-side" tabIndex={0} role="region" aria-label="About this photo">
        {found && (
          <>
            <Regions photo={found} regions={parts} chosen={chosen} point={setPointed} />
            <Things regions={parts} />
            <Captions captions={captions.value ?? []} point={setPointed} />
            <Facts photo={found} />
            <Nearest id={id} />
          </>
        )}
      </div>
    </div>
  );
}

const isInGrid = (event: KeyboardEvent) => Boolean((event.target as HTMLElement).closest?.(".grid"));

function Actions({ photo, region }: { photo: Photo; region: Region | null }) {
  const { more, less } = query.value;
  const like = { photo: photo.photo_id, region: region?.region_id ?? null };
  const isMore = more.some((each) => isSameLike(each, like));
  const isLess = less.some((each) => isSameLike(each, like));
  const choose = (way: "more" | "less", isSo: boolean) => {
    like_(like, isSo ? null : way);
    say(isSo ? "Taken out of the query." : `The answers are ${way} like this now.`);
  };
  const draw = () => {
    const { where, find } = place.value.query;
    goOn({ ...NOTHING, where, find, picture: { photo: photo.photo_id }, region: region?.region_id ?? null, box: region?.box ?? null });
  };
  return (
    <div class="photo-actions">
      <button type="button" class="button primary" aria-label="Find like this" onClick={() => findLike({ photo: photo.photo_id, region: null }, null)}>
        <ScanSearch /> <span>Find like this</span>
      </button>
      <button type="button" class="button" aria-label="Draw on it" onClick={draw} title="Draw a box, points or a mask on it"><Pencil /> <span>Draw on it</span></button>
      <button type="button" class="icon" aria-pressed={isMore} title="More like this" aria-label="More like this" onClick={() => choose("more", isMore)}><Plus /></button>
      <button type="button" class="icon" aria-pressed={isLess} title="Less like this" aria-label="Less like this" onClick={() => choose("less", isLess)}><Minus /></button>
      <a class="icon" href={fileOf(photo.photo_id)} download={photo.name ?? fileName(photo.paths[0] ?? "photo")} title="Download" aria-label="Download"><Download /></a>
    </div>
  );
}

function Large({ photo, regions, outlined }: { photo: Photo; regions: Region[]; outlined: Box | null }) {
  const [isBroken, setBroken] = useState(false);
  const { width, height } = photo;
  useEffect(() => setBroken(false), [photo.photo_id]);
  const sorted = [...regions].sort((one, other) => area(other.box) - area(one.box));
  if (isBroken) return <p class="photo-broken">The file is not where it was, or was changed. Index its folder again.</p>;
  return (
    <div class="photo-frame" style={{ "--ratio": width / height, "--width": `${width}px` }}>
      <img src={thumbnail(photo.photo_id, 2048)} alt={`Photo ${nameOf(photo)}`} onError={() => setBroken(true)} />
      <div class="photo-regions" aria-hidden="true">
        {sorted.map((region) => (
          <button
            type="button"
            tabIndex={-1}
            class={outlined === region.box ? "is-outlined" : ""}
            style={within(region.box, width, height)}
            title={title(region)}
            onClick={() => findLike({ photo: photo.photo_id, region: region.region_id }, region.box)}
          />
        ))}
        {outlined && <span class="photo-outline" style={within(outlined, width, height)} />}
      </div>
    </div>
  );
}

const area = (box: Box) => box[2] * box[3];
const title = (region: Region) => `Find this${region.object ?? region.category ? `: ${shown(region.object ?? region.category ?? "")}` : ""}`;

function within([x, y, w, h]: Box, width: number, height: number) {
  return {
    left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%`,
    width: `${(100 * w) / width}%`, height: `${(100 * h) / height}%`,
  };
}

interface RegionsProps {
  photo: Photo;
  regions: Region[];
  chosen: Region | null;
  point: (box: Box | null) => void;
}

function Regions({ photo, regions, chosen, point }: RegionsProps) {
  const [showsAll, setShowsAll] = useState(false);
  useEffect(() => setShowsAll(false), [photo.photo_id]);
  if (!regions.length) return null;
  const best = [...regions].sort((one, other) => rank(other, chosen) - rank(one, chosen));
  return (
    <section>
      <h2>Regions</h2>
      <p class="side-hint">Choose one to find where else it is.</p>
      <ul class="crops">
        {best.slice(0, showsAll ? undefined : FIRST_REGIONS).map((region) => (
          <li key={region.region_id}>
            <button
              type="button"
              class={region === chosen ? "is-chosen" : ""}
              aria-label={`${title(region)}, at ${region.box.map(Math.round).join(", ")}`}
              onMouseEnter={() => point(region.box)}
              onMouseLeave={() => point(null)}
              onFocus={() => point(region.box)}
              onBlur={() => point(null)}
              onClick={() => findLike({ photo: photo.photo_id, region: region.region_id }, region.box)}
            >
              <img src={thumbnail(photo.photo_id, 128, region.box)} alt="" loading="lazy" decoding="async" />
            </button>
          </li>
        ))}
      </ul>
      {!showsAll && best.length > FIRST_REGIONS && (
        <button type="button" class="link" onClick={() => setShowsAll(true)}>Show all {best.length} regions</button>
      )}
    </section>
  );
}

/** The region that was found first, then things that have a name, then what else stands out. */
function rank(region: Region, chosen: Region | null): number {
  return (region === chosen ? 4 : 0) + (region.category || region.object ? 2 : 0) + (region.objectness ?? 0);
}

function Things({ regions }: { regions: Region[] }) {
  const names = new Set<string>();
  for (const region of regions) for (const name of [region.object, region.category]) if (name) names.add(name);
  if (!names.size) return null;
  const { where, find } = place.value.query;
  return (
    <section>
      <h2>Things</h2>
      <ul class="chips">
        {[...names].map((name) => (
          <li><button type="button" class="chip" onClick={() => goOn({ ...NOTHING, where, find, text: name })}><bdi>{shown(name)}</bdi></button></li>
        ))}
      </ul>
    </section>
  );
}

function Captions({ captions, point }: { captions: Caption[]; point: (box: Box | null) => void }) {
  const said = captions.filter((caption) => caption.source !== "ocr");
  const read = captions.filter((caption) => caption.source === "ocr");
  const line = (caption: Caption) => (
    <li onMouseEnter={() => point(caption.box)} onMouseLeave={() => point(null)}><bdi>{shown(caption.text)}</bdi></li>
  );
  return (
    <>
      {said.length > 0 && <section><h2>Captions</h2><ul class="lines">{said.map(line)}</ul></section>}
      {read.length > 0 && <section><h2>Text in it</h2><ul class="lines is-read">{read.map(line)}</ul></section>}
    </>
  );
}

function Facts({ photo }: { photo: Photo }) {
  const { width, height, size, taken, camera, rating, tags, latitude, longitude } = photo;
  const copy = (path: string) => copyText(path).then(() => say("Path copied."), () => say("This browser does not let the page copy."));
  const withTag = (tag: string) => goOn({ ...NOTHING, where: [`tag = ${quoted(tag)}`] });
  return (
    <section>
      <h2>Details</h2>
      <dl class="facts">
        {taken && <><dt>Taken</dt><dd>{day(taken, true)}</dd></>}
        {camera && <><dt>Camera</dt><dd><bdi>{shown(camera)}</bdi></dd></>}
        {rating !== null && (
          <><dt>Rating</dt><dd><span class="stars" aria-label={`${rating} of 5`} role="img">{[1, 2, 3, 4, 5].map((star) => <Star class={star <= rating ? "is-on" : ""} />)}</span></dd></>
        )}
        <dt>Size</dt><dd>{width} × {height} · {fileSize(size)}</dd>
        {latitude !== null && longitude !== null && <><dt>Place</dt><dd>{latitude.toFixed(5)}, {longitude.toFixed(5)}</dd></>}
        {tags.length > 0 && (
          <><dt>Tags</dt><dd><ul class="chips">{tags.map((tag) => (
            <li><button type="button" class="chip" onClick={() => withTag(tag)}><bdi>{shown(tag)}</bdi></button></li>
          ))}</ul></dd></>
        )}
        {!photo.name && photo.paths.map((path) => (
          <><dt>File</dt><dd class="path">
            <span><bdi>{fileName(path)}</bdi><small><bdi>{folderName(path)}</bdi></small></span>
            <button type="button" class="icon small" title="Copy the path" aria-label={`Copy the path of ${fileName(path)}`} onClick={() => copy(path)}><Copy /></button>
          </dd></>
        ))}
      </dl>
    </section>
  );
}

function Nearest({ id }: { id: number }) {
  const nearest = useLoaded((signal) => getNearest(id, signal), [id]);
  if (!nearest.value?.length) return null;
  return (
    <section class="nearest">
      <h2>Nearest</h2>
      <Grid label="Nearest photos">
        {nearest.value.map((hit) => <HitTile key={hit.photo_id} hit={{ ...hit, sureness: null }} crops={false} />)}
      </Grid>
    </section>
  );
}
