// Photos in rows of one height, each row as wide as the page, with what was found outlined.

import { Minus, Plus, ScanSearch } from "lucide-preact";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { thumbnail, type Hit, type Photo } from "./api";
import { goOn, openPhoto, place, refine, writePlace } from "./address";
import { addLike, isSameLike, NOTHING, type Box, type Like } from "./query";
import { nameOf, shown, SURENESS } from "./text";

const WIDEST = 3; // sides of a tile; beyond, it shows the middle
const NARROWEST = 0.5;

export function Grid({ children, label }: { children: ComponentChildren; label: string }) {
  return (
    <ul class="grid" aria-label={label} onKeyDown={roam}>
      {children}
      <li class="grid-rest" aria-hidden="true" />
    </ul>
  );
}

/** Arrow keys go from photo to photo. */
function roam(event: KeyboardEvent) {
  if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
  const links = [...document.querySelectorAll<HTMLElement>(".tile-link")];
  const at = links.indexOf(document.activeElement as HTMLElement);
  if (at < 0) return;
  event.preventDefault();
  let next: HTMLElement | undefined;
  if (event.key === "ArrowLeft") next = links[at - 1];
  else if (event.key === "ArrowRight") next = links[at + 1];
  else {
    const here = links[at].getBoundingClientRect();
    const way = event.key === "ArrowDown" ? 1 : -1;
    const middle = here.left + here.width / 2;
    const rows = links.map((link) => ({ link, rect: link.getBoundingClientRect() }))
      .filter(({ rect }) => (rect.top - here.top) * way > here.height / 2);
    const nearest = Math.min(...rows.map(({ rect }) => Math.abs(rect.top - here.top)));
    next = rows
      .filter(({ rect }) => Math.abs(rect.top - here.top) < nearest + 4)
      .sort((one, other) => distance(one.rect, middle) - distance(other.rect, middle))[0]?.link;
  }
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

const distance = (rect: DOMRect, x: number) => Math.abs(rect.left + rect.width / 2 - x);

interface TileProps {
  photo: number;
  at: number | null;
  width: number;
  height: number;
  /** Only this part is shown. */
  crop?: Box;
  label: string;
  children?: ComponentChildren;
  below?: ComponentChildren;
}

function Tile({ photo, at, width, height, crop, label, children, below }: TileProps) {
  const [isBroken, setBroken] = useState(false);
  const ratio = Math.min(Math.max((crop ? crop[2] / crop[3] : width / height) || 1, NARROWEST), WIDEST);
  const open = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    openPhoto(photo, at);
  };
  return (
    <li class="tile" style={{ "--ratio": ratio }}>
      <a class="tile-link" href={writePlace({ ...place.value, open: photo, at })} onClick={open} aria-label={label}>
        {isBroken ? (
          <span class="tile-broken">The file is not where it was</span>
        ) : (
          <img
            src={thumbnail(photo, 512, crop)}
            alt=""
            loading="lazy"
            decoding="async"
            onLoad={(event) => event.currentTarget.classList.add("is-loaded")}
            onError={() => setBroken(true)}
          />
        )}
        {!isBroken && children}
      </a>
      {below}
    </li>
  );
}

export function PhotoTile({ photo }: { photo: Photo }) {
  return (
    <Tile photo={photo.photo_id} at={null} width={photo.width} height={photo.height} label={nameOf(photo)} />
  );
}

export function HitTile({ hit, crops }: { hit: Hit; crops: boolean }) {
  const isPart = hit.box[2] < hit.width || hit.box[3] < hit.height;
  const showsText = hit.caption && (hit.kind === "caption" || hit.via.includes("caption") || hit.via.includes("ocr"));
  const name = nameOf(hit);
  const thing = hit.object ? `${hit.object} in ${name}` : name;
  const label = [thing, hit.sureness && SURENESS[hit.sureness], showsText && shown(hit.caption!)].filter(Boolean);
  return (
    <Tile
      photo={hit.photo_id}
      at={hit.region_id}
      width={hit.width}
      height={hit.height}
      crop={crops && isPart ? hit.box : undefined}
      label={label.join(", ")}
      below={<LikeButtons like={likeOf(hit)} box={isPart ? hit.box : null} name={name} />}
    >
      {isPart && !crops && <Outline box={hit.box} width={hit.width} height={hit.height} />}
      <span class="tile-words" aria-hidden="true">
        {hit.sureness && <span class={`sureness is-${hit.sureness}`}>{SURENESS[hit.sureness]}</span>}
        {showsText && <bdi class="tile-caption">{shown(hit.caption!)}</bdi>}
      </span>
    </Tile>
  );
}

export function likeOf(hit: Hit): Like {
  return { photo: hit.photo_id, region: hit.kind === "photo" ? null : hit.region_id };
}

/** The outline of a region, on a photo that covers its frame as `object-fit: cover` does. */
export function Outline({ box, width, height }: { box: Box; width: number; height: number }) {
  const [x, y, w, h] = box;
  return (
    <svg class="outline" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="xMidYMid slice" aria-hidden="true">
      <path class="outline-rest" fill-rule="evenodd" d={`M0 0H${width}V${height}H0Z M${x} ${y}v${h}h${w}v${-h}Z`} />
      <rect class="outline-dark" x={x} y={y} width={w} height={h} />
      <rect class="outline-light" x={x} y={y} width={w} height={h} />
    </svg>
  );
}

function LikeButtons({ like, box, name }: { like: Like; box: Box | null; name: string }) {
  const { more, less } = place.value.query;
  const isMore = more.some((each) => isSameLike(each, like));
  const isLess = less.some((each) => isSameLike(each, like));
  return (
    <span class="tile-buttons">
      <button type="button" class="icon small" title="Find this" aria-label={`Find what ${name} shows here`}
        onClick={() => findLike(like, box)}>
        <ScanSearch />
      </button>
      <button type="button" class="icon small" title="More like this" aria-label={`More like ${name}`}
        aria-pressed={isMore} onClick={() => like_(like, isMore ? null : "more")}>
        <Plus />
      </button>
      <button type="button" class="icon small" title="Less like this" aria-label={`Less like ${name}`}
        aria-pressed={isLess} onClick={() => like_(like, isLess ? null : "less")}>
        <Minus />
      </button>
    </span>
  );
}

/** Adds to the query what hits should be like, or unlike. */
export function like_(like: Like, way: "more" | "less" | null) {
  const { more, less } = place.value.query;
  const without = (likes: Like[]) => likes.filter((each) => !isSameLike(each, like));
  refine({
    more: way === "more" ? addLike(more, like) : without(more),
    less: way === "less" ? addLike(less, like) : without(less),
  });
}

/** Asks for what a region shows, on the stage with its box. */
export function findLike(like: Like, box: Box | null) {
  const { where, find } = place.value.query;
  goOn({ ...NOTHING, where, find, picture: { photo: like.photo }, region: box && like.region, box });
}
