// What the model takes a drawing for, laid over the picture.

import { useEffect, useRef } from "preact/hooks";
import type { Segment } from "./api";
import { readRunLengths } from "./strokes";

const SIDE = 512; // pixels of the longer side of what is drawn of a mask
const COLOUR = [93, 108, 255];
const MASK_ALPHA = 130;
const CELL_ALPHA = 110;

export function Seen({ segment }: { segment: Segment }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (segment.kind === "cells" && segment.cells) drawCells(canvas.current!, segment.cells);
    else drawMask(canvas.current!, segment);
  }, [segment]);
  return <canvas ref={canvas} class={`seen is-${segment.kind}`} aria-hidden="true" />;
}

function drawCells(canvas: HTMLCanvasElement, { rows, columns, weights }: NonNullable<Segment["cells"]>) {
  const most = Math.max(...weights, Number.MIN_VALUE);
  fill(canvas, columns, rows, (at) => Math.sqrt(weights[at] / most) * CELL_ALPHA);
}

function drawMask(canvas: HTMLCanvasElement, { mask, width, height }: Segment) {
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const columns = Math.max(1, Math.round(width * scale));
  const rows = Math.max(1, Math.round(height * scale));
  const meant = new Uint8Array(columns * rows);
  let at = 0;
  readRunLengths(mask.counts).forEach((run, number) => {
    if (number % 2) {
      for (let here = at; here < at + run; here++) {
        const column = Math.min(columns - 1, Math.floor(Math.floor(here / height) * scale));
        meant[Math.min(rows - 1, Math.floor((here % height) * scale)) * columns + column] = 1;
      }
    }
    at += run;
  });
  fill(canvas, columns, rows, (place) => meant[place] * MASK_ALPHA);
}

function fill(canvas: HTMLCanvasElement, columns: number, rows: number, alpha: (at: number) => number) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(columns, rows);
  for (let at = 0; at < columns * rows; at++) image.data.set([...COLOUR, alpha(at)], at * 4);
  context.putImageData(image, 0, 0);
}
