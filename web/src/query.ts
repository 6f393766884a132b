// What a person asks for, as the address of the page holds it and as the service takes it.

import { drawStrokes, readStrokes, runLengths, writeStrokes, type Stroke } from "./strokes";

export type Box = [x: number, y: number, width: number, height: number];
export type Point = [x: number, y: number, label: 0 | 1];
export type Find = "auto" | "regions" | "photos" | "captions";

/** A picture on the stage: one that was given, which this browser keeps, or a photo of the library. */
export type Picture = { upload: string } | { photo: number };

/** What hits should look like, or should not: a region or a photo of the library. */
export interface Like {
  photo: number;
  region: number | null;
}

export interface Query {
  text: string;
  picture: Picture | null;
  /** A region of the library whose box this is; null once the box was changed. */
  region: number | null;
  box: Box | null;
  points: Point[];
  strokes: Stroke[];
  more: Like[];
  less: Like[];
  where: string[];
  find: Find;
}

/** A query and where it came from; the oldest first. */
export interface Asked {
  query: Query;
  chain: string[];
}

export const NOTHING: Query = {
  text: "", picture: null, region: null, box: null, points: [], strokes: [],
  more: [], less: [], where: [], find: "auto",
};

export const MAX_CHAIN = 6; // queries that the breadcrumbs show
const MAX_LIKES = 12; // pictures that are added to a query, each way

export function asks(query: Query): boolean {
  return Boolean(query.text.trim() || query.picture || query.more.length || query.less.length);
}

export function isDrawnOn(query: Query): boolean {
  return query.box !== null || query.points.length > 0 || query.strokes.length > 0;
}

export function withoutDrawing(query: Query): Query {
  return { ...query, region: null, box: null, points: [], strokes: [] };
}

export function addLike(likes: Like[], like: Like): Like[] {
  const rest = likes.filter((each) => !isSameLike(each, like));
  return [...rest, like].slice(-MAX_LIKES);
}

export function isSameLike(one: Like, other: Like): boolean {
  return one.photo === other.photo && one.region === other.region;
}

// -- addresses ------------------------------------------------------------------------------------

export function writeQuery(query: Query): URLSearchParams {
  const found = new URLSearchParams();
  if (query.text) found.set("text", query.text);
  if (query.picture && "upload" in query.picture) found.set("picture", query.picture.upload);
  if (query.picture && "photo" in query.picture) found.set("photo", String(query.picture.photo));
  if (query.region !== null) found.set("region", String(query.region));
  if (query.box) found.set("box", query.box.map(short).join(","));
  for (const point of query.points) found.append("point", point.map(short).join(","));
  if (query.strokes.length) found.set("mask", writeStrokes(query.strokes));
  for (const like of query.more) found.append("more", writeLike(like));
  for (const like of query.less) found.append("less", writeLike(like));
  for (const filter of query.where) found.append("where", filter);
  if (query.find !== "auto") found.set("find", query.find);
  return found;
}

export function readQuery(params: URLSearchParams): Query {
  const photo = readId(params.get("photo"));
  const upload = params.get("picture");
  const box = readNumbers(params.get("box"));
  const find = params.get("find") ?? "auto";
  return {
    text: params.get("text") ?? "",
    picture: photo !== null ? { photo } : upload ? { upload } : null,
    region: readId(params.get("region")),
    box: box?.length === 4 && box[2] > 0 && box[3] > 0 ? (box as Box) : null,
    points: params.getAll("point").map(readNumbers).filter((each) => each?.length === 3) as Point[],
    strokes: readStrokes(params.get("mask") ?? ""),
    more: params.getAll("more").map(readLike).filter((each) => each !== null),
    less: params.getAll("less").map(readLike).filter((each) => each !== null),
    where: params.getAll("where"),
    find: (["auto", "regions", "photos", "captions"].includes(find) ? find : "auto") as Find,
  };
}

function short(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function writeLike(like: Like): string {
  return like.region === null ? String(like.photo) : `${like.photo}.${like.region}`;
}

function readLike(text: string): Like | null {
  const [photo, region] = text.split(".").map(readId);
  return photo ? { photo, region: region ?? null } : null;
}

export function readId(text: string | null | undefined): number | null {
  return text && /^[1-9]\d{0,15}$/.test(text) ? Number(text) : null;
}

function readNumbers(text: string | null): number[] | null {
  const found = (text ?? "").split(",").map(Number);
  return text && found.every(Number.isFinite) ? found : null;
}

// -- requests -------------------------------------------------------------------------------------

/** Which picture the service must keep before it can answer; null: none. */
export function neededPicture(query: Query): Picture | null {
  if (!query.picture) return null;
  if ("upload" in query.picture) return query.picture;
  return (isDrawnOn(query) && query.region === null) || query.text.trim() ? query.picture : null;
}

/** What is drawn, in the frame of a picture of this size. */
export function drawing(query: Query, width: number, height: number): Record<string, unknown> {
  if (query.strokes.length) return { mask: runLengths(drawStrokes(query.strokes, width, height), width, height) };
  const found: Record<string, unknown> = {};
  if (query.box) found.box = clip(query.box, width, height);
  if (query.points.length) found.points = query.points;
  return found;
}

export function clip(box: Box, width: number, height: number): Box {
  const x = Math.min(Math.max(box[0], 0), width - 1);
  const y = Math.min(Math.max(box[1], 0), height - 1);
  return [x, y, Math.min(box[2], width - x), Math.min(box[3], height - y)];
}

export interface Kept {
  picture_id: string;
  width: number;
  height: number;
}

/** The body of a search; `kept` is the picture that the query needs. */
export function searchBody(query: Query, kept: Kept | null): Record<string, unknown> {
  const text = query.text.trim();
  const parts: Record<string, unknown>[] = [];
  if (kept) {
    parts.push({
      picture_id: kept.picture_id,
      ...(text ? { text } : {}),
      ...drawing(query, kept.width, kept.height),
    });
  } else {
    if (query.region !== null) parts.push({ region_id: query.region });
    else if (query.picture && "photo" in query.picture) parts.push({ photo_id: query.picture.photo });
    if (text) parts.push({ text });
  }
  parts.push(...query.more.map(likeBody));
  const [first, ...rest] = parts;
  return {
    ...(first ?? {}),
    ...(rest.length ? { parts: rest } : {}),
    ...(query.less.length ? { without: query.less.map(likeBody) } : {}),
    ...(query.where.length ? { where: query.where } : {}),
    find: query.find,
  };
}

function likeBody(like: Like): Record<string, unknown> {
  return like.region === null ? { photo_id: like.photo } : { region_id: like.region };
}
