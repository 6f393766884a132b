// What is painted: strokes in thousandths of the picture's longer side, so that they fit any size of it and
// an address can hold them.

export interface Stroke {
  erases: boolean;
  /** Width of the brush. */
  size: number;
  /** x, y, x, y, ... */
  path: number[];
}

const UNITS = 1000;
const MASK_SIDE = 512; // pixels of the longer side of the mask that is sent
const COLOUR = "#ffd34d";
const MAX_STROKES = 200;
const MAX_NUMBERS = 4000; // of a stroke

export function toUnits(value: number, width: number, height: number): number {
  return Math.round((value / Math.max(width, height)) * UNITS);
}

/** `b24_10.5.1.0.2.2`: brush, its size, where it begins, and how it goes on. */
export function writeStrokes(strokes: Stroke[]): string {
  return strokes
    .map(({ erases, size, path }) => {
      const steps = path.map((value, at) => (at < 2 ? value : value - path[at - 2]));
      return `${erases ? "e" : "b"}${size.toString(36)}_${steps.map((step) => step.toString(36)).join(".")}`;
    })
    .join("~");
}

export function readStrokes(text: string): Stroke[] {
  const found: Stroke[] = [];
  for (const part of text.split("~").slice(0, MAX_STROKES)) {
    const match = /^([be])([0-9a-z]+)_([-0-9a-z.]+)$/.exec(part);
    if (!match) continue;
    const path = match[3].split(".").slice(0, MAX_NUMBERS).map((step) => parseInt(step, 36));
    for (let at = 2; at < path.length; at++) path[at] += path[at - 2];
    if (path.length < 2 || path.length % 2 || !path.every(Number.isFinite)) continue;
    found.push({ erases: match[1] === "e", size: Math.min(parseInt(match[2], 36), UNITS), path });
  }
  return found;
}

/** Leaves out what a stroke does not need. */
export function simplify(path: number[]): number[] {
  const found = path.slice(0, 2);
  for (let at = 2; at < path.length; at += 2) {
    const [x, y] = found.slice(-2);
    const isLast = at === path.length - 2;
    if (isLast || Math.hypot(path[at] - x, path[at + 1] - y) >= 4) found.push(path[at], path[at + 1]);
  }
  return found.slice(0, MAX_NUMBERS);
}

export function paintStrokes(context: CanvasRenderingContext2D, strokes: Stroke[], width: number, height: number) {
  const scale = Math.max(width, height) / UNITS;
  context.clearRect(0, 0, width, height);
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = COLOUR;
  for (const { erases, size, path } of strokes) {
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.lineWidth = Math.max(size * scale, 1);
    context.beginPath();
    context.moveTo(path[0] * scale, path[1] * scale);
    for (let at = 2; at < path.length; at += 2) context.lineTo(path[at] * scale, path[at + 1] * scale);
    context.lineTo(path[path.length - 2] * scale + 0.01, path[path.length - 1] * scale);
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

export interface Mask {
  columns: number;
  rows: number;
  /** Whether the pixel at row * columns + column is painted. */
  pixels: Uint8Array;
}

/** Draws strokes at a size that is enough for a mask. */
export function drawStrokes(strokes: Stroke[], width: number, height: number): Mask {
  const scale = Math.min(1, MASK_SIDE / Math.max(width, height));
  const columns = Math.max(1, Math.round(width * scale));
  const rows = Math.max(1, Math.round(height * scale));
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  paintStrokes(context, strokes, columns, rows);
  const { data } = context.getImageData(0, 0, columns, rows);
  const pixels = new Uint8Array(columns * rows);
  for (let at = 0; at < pixels.length; at++) pixels[at] = data[at * 4 + 3] > 127 ? 1 : 0;
  return { columns, rows, pixels };
}

export function isEmpty(mask: Mask): boolean {
  return !mask.pixels.includes(1);
}

/** A mask as run lengths, column by column, at the full size of a picture. */
export function runLengths(mask: Mask, width: number, height: number): { size: number[]; counts: number[] } {
  const { columns, rows, pixels } = mask;
  const counts: number[] = [];
  let value = 0;
  let run = 0;
  for (let x = 0; x < width; x++) {
    const column = Math.min(columns - 1, Math.floor((x * columns) / width));
    for (let row = 0; row < rows; row++) {
      // The rows y with floor(y * rows / height) = row.
      const length = Math.ceil(((row + 1) * height) / rows) - Math.ceil((row * height) / rows);
      const here = pixels[row * columns + column];
      if (here === value) run += length;
      else {
        counts.push(run);
        value = here;
        run = length;
      }
    }
  }
  counts.push(run);
  return { size: [height, width], counts };
}

/** The pixels of run lengths as plain counts: 1 where it is meant, column by column. */
export function readRunLengths(counts: number[] | string): number[] {
  if (typeof counts !== "string") return counts;
  const found: number[] = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let goesOn = true;
    while (goesOn) {
      const code = counts.charCodeAt(at++) - 48;
      value += (code & 31) * 2 ** shift;
      shift += 5;
      goesOn = Boolean(code & 32);
      if (!goesOn && code & 16) value -= 2 ** shift;
    }
    found.push(found.length > 2 ? value + found[found.length - 2] : value);
  }
  return found;
}
