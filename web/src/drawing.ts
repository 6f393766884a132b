// Boxes as hands move them.

import type { Box } from "./query";

export type Handle = "n" | "s" | "e" | "w" | "ne" | "nw" | "se" | "sw";
export const HANDLES: Handle[] = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];

const MIN_SIDE = 2; // pixels of the picture

export function boxBetween(from: [number, number], to: [number, number], width: number, height: number): Box {
  const [x0, x1] = [from[0], to[0]].map((x) => clamp(x, 0, width)).sort((a, b) => a - b);
  const [y0, y1] = [from[1], to[1]].map((y) => clamp(y, 0, height)).sort((a, b) => a - b);
  return [round(x0), round(y0), round(x1 - x0), round(y1 - y0)];
}

export function moveBox(box: Box, dx: number, dy: number, width: number, height: number): Box {
  const [x, y, w, h] = box;
  return [round(clamp(x + dx, 0, width - w)), round(clamp(y + dy, 0, height - h)), w, h];
}

export function resizeBox(box: Box, handle: Handle, dx: number, dy: number, width: number, height: number): Box {
  let [x0, y0, x1, y1] = [box[0], box[1], box[0] + box[2], box[1] + box[3]];
  if (handle.includes("w")) x0 = clamp(x0 + dx, 0, x1 - MIN_SIDE);
  if (handle.includes("e")) x1 = clamp(x1 + dx, x0 + MIN_SIDE, width);
  if (handle.includes("n")) y0 = clamp(y0 + dy, 0, y1 - MIN_SIDE);
  if (handle.includes("s")) y1 = clamp(y1 + dy, y0 + MIN_SIDE, height);
  return [round(x0), round(y0), round(x1 - x0), round(y1 - y0)];
}

export function handlePlace(box: Box, handle: Handle): [number, number] {
  const [x, y, w, h] = box;
  return [
    handle.includes("w") ? x : handle.includes("e") ? x + w : x + w / 2,
    handle.includes("n") ? y : handle.includes("s") ? y + h : y + h / 2,
  ];
}

export const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), Math.max(low, high));
const round = (value: number) => Math.round(value * 10) / 10;
