// The service, as this page asks it. Its own address, and nobody else's.

import { signal } from "@preact/signals";
import { neededPicture, searchBody, drawing, type Box, type Kept, type Picture, type Query } from "./query";
import { loadUpload } from "./uploads";

export interface Hit {
  rank: number;
  score: number;
  percentile: number | null;
  sureness: "likely" | "possible" | "unsure" | null;
  path: string;
  box: Box;
  width: number;
  height: number;
  kind: "region" | "photo" | "caption";
  caption: string | null;
  region_id: number | null;
  region_box: Box | null;
  object: string | null;
  photo_id: number;
  via: string[];
  taken: string | null;
  camera: string | null;
  rating: number | null;
  tags: string[];
  other_paths: string[];
  copies: string[];
  name: string | null;
}

export interface Photo {
  photo_id: number;
  paths: string[];
  name: string | null;
  width: number;
  height: number;
  size: number;
  taken: string | null;
  camera: string | null;
  latitude: number | null;
  longitude: number | null;
  rating: number | null;
  tags: string[];
  captions: string[];
}

export interface Region {
  region_id: number;
  box: Box;
  category: string | null;
  object: string | null;
  objectness: number | null;
  caption: string | null;
  is_full_image: boolean;
}

export interface Caption {
  text: string;
  source: "caption" | "region" | "ocr";
  region_id: number | null;
  box: Box | null;
}

export interface Segment {
  kind: "mask" | "cells";
  width: number;
  height: number;
  box: Box;
  mask: { size: number[]; counts: number[] | string };
  cells: { rows: number; columns: number; weights: number[] } | null;
}

export interface Status {
  library: string;
  version: string;
  model: string;
  read_only: boolean;
  can_segment: boolean;
  photos: number;
  files: number;
  missing: number;
  problems: number;
  regions: number;
  captions: number;
}

export interface Similar {
  tier: "same-file" | "same-bytes" | "same-picture" | "similar" | null;
  score: number;
  distance: number;
  path: string;
  width: number;
  height: number;
  photo_id: number | null;
}

export interface Root {
  path: string;
  indexed: boolean;
}

export interface Job {
  job_id: string;
  kind: string;
  state: "running" | "done" | "failed" | "cancelled";
  progress: { stage: string; done: number; total: number | null; problems: number; seconds: number; what: string } | null;
  report: (Record<string, unknown> & { problems: { path: string; reason: string }[]; warnings: string[] }) | null;
  problem: Problem | null;
}

export interface Suggestions {
  cameras: string[];
  tags: string[];
  objects: string[];
  folders: string[];
}

export interface Problem {
  status: number;
  title: string;
  detail: string;
  errors?: { pointer: string; detail: string }[];
}

/** What the service answered in place of what was asked. */
export class ServiceError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** The service does not answer at all. */
export class GoneError extends Error {
  constructor() {
    super("The service does not answer.");
  }
}

export type ServiceState = "here" | "gone" | "locked";
export const serviceState = signal<ServiceState>("here");
/** Grows when the service is back, or has something new: what is shown is asked for again. */
export const revision = signal(0);

const POLL_SECONDS = 1;
const RETRIES = 3; // of a request that the service is too busy for

export async function request<T>(path: string, options: RequestInit = {}): Promise<T> {
  const response = await send(path, options);
  return response.status === 204 ? (undefined as T) : response.json();
}

async function send(path: string, options: RequestInit): Promise<Response> {
  for (let attempt = 0; ; attempt++) {
    let response: Response;
    try {
      response = await fetch(path, { ...options, credentials: "same-origin" });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      waitForService();
      throw new GoneError();
    }
    if (response.ok) return response;
    if (response.status === 429 && attempt < RETRIES) {
      await pause(1000 * Number(response.headers.get("retry-after") ?? 1));
      continue;
    }
    const problem = await readProblem(response);
    if (response.status === 401) serviceState.value = "locked";
    throw new ServiceError(problem);
  }
}

async function readProblem(response: Response): Promise<Problem> {
  try {
    return await response.json();
  } catch {
    return { status: response.status, title: "Problem", detail: `The service answered with ${response.status}.` };
  }
}

function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const headers = { "content-type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

const pause = (milliseconds: number) => new Promise((resume) => setTimeout(resume, milliseconds));

/** Asks whether the service is back, until it is. */
async function waitForService() {
  if (serviceState.value === "gone") return;
  serviceState.value = "gone";
  kept.clear();
  for (;;) {
    await pause(1000 * POLL_SECONDS);
    try {
      const response = await fetch("/healthz");
      if (response.ok) break;
    } catch {
      continue;
    }
  }
  serviceState.value = "here";
  revision.value++;
}

/** Has the service take a token; this browser then has a cookie in its place. */
export async function unlock(token: string) {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch("/v1/session", { method: "POST", headers });
  if (!response.ok) throw new ServiceError(await readProblem(response));
  serviceState.value = "here";
  revision.value++;
}

// -- pictures -------------------------------------------------------------------------------------

const kept = new Map<string, Promise<Kept>>();
const nameOf = (picture: Picture) => ("upload" in picture ? `u${picture.upload}` : `p${picture.photo}`);

/** This browser does not hold the picture that the address names. */
export class LostPictureError extends Error {
  constructor() {
    super("This picture was given in another browser, or is no longer kept. Drop it here again.");
  }
}

/** Has the service keep a picture, so that whatever is drawn on it is answered quickly. */
export function keepPicture(picture: Picture): Promise<Kept> {
  const name = nameOf(picture);
  let found = kept.get(name);
  if (!found) {
    found = sendPicture(picture);
    kept.set(name, found);
    found.catch(() => kept.delete(name));
  }
  return found;
}

async function sendPicture(picture: Picture): Promise<Kept> {
  if ("photo" in picture) return post("/v1/pictures", { photo_id: picture.photo });
  const file = await loadUpload(picture.upload);
  if (!file) throw new LostPictureError();
  return request("/v1/pictures", { method: "POST", body: formOf(file) });
}

function formOf(file: Blob): FormData {
  const form = new FormData();
  form.set("image", file, "picture");
  return form;
}

/** A picture as this browser can show it: the service makes a JPEG of what is HEIC, RAW or TIFF. */
export async function showable(file: Blob): Promise<Blob> {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    return file;
  } catch {
    return await send("/v1/preview", { method: "POST", body: formOf(file) }).then((response) => response.blob());
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Does something with a kept picture; keeps it again if the service has let it go. */
async function withPicture<T>(picture: Picture, work: (kept: Kept) => Promise<T>): Promise<T> {
  try {
    return await work(await keepPicture(picture));
  } catch (error) {
    const isLost =
      error instanceof ServiceError && error.problem.errors?.some((each) => each.pointer.endsWith("picture_id"));
    if (!isLost) throw error;
    kept.delete(nameOf(picture));
    return work(await keepPicture(picture));
  }
}

// -- what it can be asked -------------------------------------------------------------------------

export async function search(query: Query, top: number, offset: number, signal?: AbortSignal): Promise<Hit[]> {
  const picture = neededPicture(query);
  const ask = (held: Kept | null) =>
    post<{ hits: Hit[] }>("/v1/search", { ...searchBody(query, held), top, offset }, signal);
  return (picture ? await withPicture(picture, ask) : await ask(null)).hits;
}

/** What the model takes what was drawn for. */
export function segment(query: Query, signal?: AbortSignal): Promise<Segment> {
  return withPicture(query.picture!, (held) =>
    post("/v1/segment", { picture_id: held.picture_id, ...drawing(query, held.width, held.height) }, signal),
  );
}

export function listPhotos(where: string[], limit: number, offset: number, signal?: AbortSignal) {
  const params = new URLSearchParams({ order: "-taken", limit: String(limit), offset: String(offset) });
  for (const filter of where) params.append("where", filter);
  return request<{ photos: Photo[]; total: number }>(`/v1/photos?${params}`, { signal });
}

export const getPhoto = (id: number, signal?: AbortSignal) => request<Photo>(`/v1/photos/${id}`, { signal });
export const getRegions = (id: number, signal?: AbortSignal) =>
  request<{ regions: Region[] }>(`/v1/photos/${id}/regions`, { signal }).then((found) => found.regions);
export const getCaptions = (id: number, signal?: AbortSignal) =>
  request<{ captions: Caption[] }>(`/v1/photos/${id}/captions`, { signal }).then((found) => found.captions);
export const getNearest = (id: number, signal?: AbortSignal) =>
  post<{ hits: Hit[] }>("/v1/search", { photo_id: id, find: "photos", top: 13 }, signal).then((found) =>
    found.hits.filter((hit) => hit.photo_id !== id).slice(0, 12),
  );
export const getStatus = (signal?: AbortSignal) => request<Status>("/v1/status", { signal });
export const getSuggestions = (signal?: AbortSignal) => request<Suggestions>("/v1/suggestions", { signal });
export const getSimilar = (signal?: AbortSignal) =>
  post<{ groups: Similar[][] }>("/v1/similar", {}, signal).then((found) => found.groups);
export const getRoots = () => request<{ roots: Root[] }>("/v1/roots").then((found) => found.roots);
export const getJobs = () => request<{ jobs: Job[] }>("/v1/jobs").then((found) => found.jobs);
export const getJob = (id: string) => request<Job>(`/v1/jobs/${id}`);
export const startIndex = (paths: string[]) => post<Job>("/v1/index", { paths });
export const cancelJob = (id: string) => request<Job>(`/v1/jobs/${id}`, { method: "DELETE" });

// -- addresses of pictures ------------------------------------------------------------------------

export type Side = 128 | 256 | 512 | 1024 | 2048;

export function thumbnail(photo: number, side: Side, box?: Box): string {
  const part = box ? `&box=${box.map((value) => Math.round(value * 10) / 10).join(",")}` : "";
  return `/v1/photos/${photo}/thumbnail?side=${side}${part}`;
}

export const fileOf = (photo: number) => `/v1/photos/${photo}/file`;
