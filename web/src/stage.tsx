// The picture that is asked with, and the hand on it: a box, points, a brush.

import { Brush, Eraser, Eye, EyeOff, ImagePlus, MousePointerClick, SquareDashed, Trash2, Undo2, X } from "lucide-preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { getPhoto, GoneError, keepPicture, LostPictureError, segment, ServiceError, showable, thumbnail, type Segment } from "./api";
import { place, query, refine } from "./address";
import { boxBetween, clamp, handlePlace, HANDLES, moveBox, resizeBox, type Handle } from "./drawing";
import { pickPicture } from "./giving";
import { isDrawnOn, withoutDrawing, type Box, type Picture, type Point, type Query } from "./query";
import { Seen } from "./seen";
import { drawStrokes, isEmpty, paintStrokes, simplify, toUnits, type Stroke } from "./strokes";
import { loadUpload } from "./uploads";
import { useLoaded } from "./use";

type Tool = "box" | "points" | "brush" | "eraser";
type Drawn = Pick<Query, "box" | "points" | "strokes" | "region">;

const CLICK = 4; // pixels of the screen that a hand shakes
const NEAR = 14; // within which a click takes a point away
const STEP = 0.01; // of the longer side: what an arrow key does
const KEY_PAUSE = 350; // milliseconds after the last key, before what was drawn is asked with
const BRUSHES = { least: 10, most: 200, first: 70 };
const MAX_UNDO = 100;

export function Stage({ picture }: { picture: Picture }) {
  const key = "upload" in picture ? `u${picture.upload}` : `p${picture.photo}`;
  const source = useLoaded(() => loadSource(picture), [key]);
  useEffect(() => {
    const address = source.value?.address;
    return () => address?.startsWith("blob:") && URL.revokeObjectURL(address);
  }, [source.value]);
  return (
    <section class="stage" aria-label="Picture">
      {source.value ? (
        <Canvas key={key} address={source.value.address} frame={[source.value.width, source.value.height]} />
      ) : source.error && !(source.error instanceof GoneError) ? (
        <div class="stage-message" role="alert">
          <p>{source.error.message.slice(0, 1).toUpperCase() + source.error.message.slice(1)}</p>
          <button type="button" class="button" onClick={pickPicture}><ImagePlus /> Choose a picture</button>
          <button type="button" class="button" onClick={removePicture}>Remove it</button>
        </div>
      ) : (
        <div class="stage-message is-waiting" role="status"><span class="hidden">Loading the picture</span></div>
      )}
    </section>
  );
}

async function loadSource(picture: Picture): Promise<{ address: string; width: number; height: number }> {
  if ("photo" in picture) {
    const { width, height } = await getPhoto(picture.photo);
    return { address: thumbnail(picture.photo, 2048), width, height };
  }
  const [kept, file] = await Promise.all([keepPicture(picture), loadUpload(picture.upload)]);
  if (!file) throw new LostPictureError();
  return { address: URL.createObjectURL(await showable(file)), width: kept.width, height: kept.height };
}

export function removePicture() {
  refine({ ...withoutDrawing(place.value.query), picture: null });
}

function Canvas({ address, frame: [width, height] }: { address: string; frame: [number, number] }) {
  const asked = query.value;
  const [draft, setDraft] = useState<Drawn | null>(null);
  const now = useRef<Drawn>(asked); // what the next event finds, whether it was shown yet or not
  const [tool, setTool] = useState<Tool>(asked.strokes.length ? "brush" : "box");
  const [isNegative, setNegative] = useState(false);
  const [brush, setBrush] = useState(BRUSHES.first);
  const [cursor, setCursor] = useState<[number, number] | null>(null);
  const [shows, setShows] = useState(true);
  const undos = useRef<Drawn[]>([]);
  const [scale, setScale] = useState(1); // pixels of the picture for one of the screen
  const surface = useRef<SVGSVGElement>(null);
  const paint = useRef<HTMLCanvasElement>(null);
  const timer = useRef(0);
  const drawn: Drawn = (now.current = draft ?? asked);
  const hand = useRef<((event: PointerEvent) => void) | null>(null);
  const finish = useRef<((event: PointerEvent) => void) | null>(null);
  const seen = useSegment(asked, shows);

  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setScale(width / Math.max(entry.contentRect.width, 1)));
    observer.observe(surface.current!);
    return () => observer.disconnect();
  }, [width]);

  useEffect(() => {
    const canvas = paint.current!;
    const shrink = Math.min(1, 1024 / Math.max(width, height));
    canvas.width = width * shrink;
    canvas.height = height * shrink;
    paintStrokes(canvas.getContext("2d")!, drawn.strokes, canvas.width, canvas.height);
  }, [drawn.strokes, width, height]);

  useEffect(() => {
    // Whoever gave a picture by keys goes on with keys.
    if (!(document.activeElement instanceof HTMLInputElement)) surface.current!.focus({ preventScroll: true });
    return () => clearTimeout(timer.current);
  }, []);

  const commit = (next: Drawn, isUndo = false) => {
    clearTimeout(timer.current);
    const { query } = place.value;
    const before: Drawn = { box: query.box, points: query.points, strokes: query.strokes, region: query.region };
    if (!isUndo) undos.current = [...undos.current, before].slice(-MAX_UNDO);
    now.current = next;
    setDraft(null);
    refine(next, "replace");
  };
  /** Asks once the keys rest. */
  const commitSoon = (next: Drawn) => {
    now.current = next;
    setDraft(next);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => commit(next), KEY_PAUSE);
  };
  const undo = () => {
    const last = undos.current.pop();
    if (last) commit(last, true);
  };
  const clear = () => commit({ box: null, points: [], strokes: [], region: null });

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isText = (event.target as HTMLElement).matches?.("input:not([type=range]):not([type=radio]), textarea");
      if ((event.ctrlKey || event.metaKey) && event.key === "z" && !event.shiftKey && !isText) {
        event.preventDefault();
        undo();
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });

  const at = (event: PointerEvent): [number, number] => {
    const rect = surface.current!.getBoundingClientRect();
    return [
      clamp(((event.clientX - rect.left) / rect.width) * width, 0, width - 0.1),
      clamp(((event.clientY - rect.top) / rect.height) * height, 0, height - 0.1),
    ];
  };

  const addPoint = (x: number, y: number, negative: boolean) => {
    const { box, points: before } = now.current;
    const near = before.find((point) => Math.hypot(point[0] - x, point[1] - y) < NEAR * scale);
    const rest = before.filter((point) => point !== near);
    const points: Point[] = near ? rest : [...rest, [Math.round(x * 10) / 10, Math.round(y * 10) / 10, negative ? 0 : 1]];
    commit({ box, points, strokes: [], region: null });
  };

  const addStroke = (path: number[], before: Stroke[]) => {
    const stroke: Stroke = { erases: tool === "eraser", size: brush, path: simplify(path) };
    const strokes = [...before, stroke];
    const hasNothing = isEmpty(drawStrokes(strokes, width, height));
    commit({ box: null, points: [], strokes: hasNothing ? [] : strokes, region: null });
  };

  const down = (event: PointerEvent) => {
    if (event.button) return;
    event.preventDefault();
    surface.current!.setPointerCapture(event.pointerId);
    surface.current!.focus({ preventScroll: true });
    const from = at(event);
    const handle = (event.target as Element).getAttribute("data-handle") as Handle | null;
    const { box: before, points, strokes } = now.current;
    let last = from;
    if (tool === "brush" || tool === "eraser") {
      const path = from.map((value) => toUnits(value, width, height));
      const show = () =>
        setDraft({ region: null, box: null, points: [], strokes: [...strokes, { erases: tool === "eraser", size: brush, path: [...path] }] });
      show();
      hand.current = (move) => {
        path.push(...at(move).map((value) => toUnits(value, width, height)));
        setCursor(at(move));
        show();
      };
      finish.current = () => addStroke(path, strokes);
      return;
    }
    const isInside = before && from[0] > before[0] && from[1] > before[1] &&
      from[0] < before[0] + before[2] && from[1] < before[1] + before[3];
    const far = () => Math.hypot(last[0] - from[0], last[1] - from[1]) > CLICK * scale;
    const drag = (): Box => {
      const [dx, dy] = [last[0] - from[0], last[1] - from[1]];
      if (before && handle) return resizeBox(before, handle, dx, dy, width, height);
      if (before && isInside) return moveBox(before, dx, dy, width, height);
      return boxBetween(from, last, width, height);
    };
    hand.current = (move) => {
      last = at(move);
      if (tool === "box" && far()) setDraft({ box: drag(), points, strokes: [], region: null });
    };
    finish.current = (up) => {
      if (tool === "points" || !far()) {
        if (!handle) addPoint(from[0], from[1], up.altKey || (tool === "points" && isNegative));
        return;
      }
      const box = drag();
      if (box[2] >= 2 && box[3] >= 2) commit({ box, points, strokes: [], region: null });
      else setDraft(null);
    };
  };
  const move = (event: PointerEvent) => {
    if (hand.current) hand.current(event);
    else if (tool === "brush" || tool === "eraser") setCursor(at(event));
  };
  const up = (event: PointerEvent) => {
    const work = finish.current;
    hand.current = finish.current = null;
    if (event.type === "pointercancel") setDraft(null);
    else work?.(event);
  };

  const key = (event: KeyboardEvent) => {
    const { box: boxNow, points } = now.current;
    const step = STEP * Math.max(width, height);
    const ways: Record<string, [number, number]> = {
      ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step],
    };
    const way = ways[event.key];
    if (tool === "box" && way && boxNow) {
      const box = event.shiftKey
        ? resizeBox(boxNow, "se", ...way, width, height)
        : moveBox(boxNow, ...way, width, height);
      commitSoon({ box, points, strokes: [], region: null });
    } else if (tool === "box" && (event.key === "Enter" || (way && !boxNow))) {
      if (!boxNow)
        commit({ box: boxBetween([width / 4, height / 4], [width * 0.75, height * 0.75], width, height), points, strokes: [], region: null });
    } else if (tool !== "box" && way) {
      const [x, y] = cursor ?? [width / 2, height / 2];
      setCursor([clamp(x + way[0] * 2, 0, width - 0.1), clamp(y + way[1] * 2, 0, height - 0.1)]);
    } else if (tool !== "box" && (event.key === "Enter" || event.key === " ")) {
      const [x, y] = cursor ?? [width / 2, height / 2];
      setCursor([x, y]);
      if (tool === "points") addPoint(x, y, event.altKey || isNegative);
      else addStroke([toUnits(x, width, height), toUnits(y, width, height)], now.current.strokes);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else return;
    event.preventDefault();
  };

  const { box, points } = drawn;
  const paints = tool === "brush" || tool === "eraser";
  const tools: [Tool, string, typeof Brush][] = [
    ["box", "Box", SquareDashed], ["points", "Points", MousePointerClick], ["brush", "Brush", Brush], ["eraser", "Eraser", Eraser],
  ];
  return (
    <>
      <div class="stage-frame" style={{ "--ratio": width / height }}>
        <img src={address} alt="The picture that is asked with" draggable={false} />
        {shows && seen.segment && !draft && <Seen segment={seen.segment} />}
        <canvas ref={paint} class="stage-paint" aria-hidden="true" />
        <svg
          ref={surface}
          class={`stage-surface is-${tool}`}
          viewBox={`0 0 ${width} ${height}`}
          preserveAspectRatio="none"
          tabindex={0}
          role="application"
          aria-label={LABELS[tool]}
          onPointerDown={down}
          onPointerMove={move}
          onPointerUp={up}
          onPointerCancel={up}
          onPointerLeave={() => !hand.current && paints && setCursor(null)}
          onKeyDown={key}
        >
          {box && (
            <>
              <path class="box-rest" fill-rule="evenodd"
                d={`M0 0H${width}V${height}H0Z M${box[0]} ${box[1]}v${box[3]}h${box[2]}v${-box[3]}Z`} />
              <rect class="box-dark" x={box[0]} y={box[1]} width={box[2]} height={box[3]} />
              <rect class="box-light" x={box[0]} y={box[1]} width={box[2]} height={box[3]} />
              {HANDLES.map((handle) => {
                const [x, y] = handlePlace(box, handle);
                return (
                  <g class={`handle is-${handle}`}>
                    <circle cx={x} cy={y} r={(handle.length === 2 ? 5.5 : 4) * scale} />
                    <circle class="handle-reach" data-handle={handle} cx={x} cy={y} r={14 * scale} />
                  </g>
                );
              })}
            </>
          )}
          {points.map(([x, y, label]) => (
            <g class={label ? "point is-positive" : "point is-negative"}>
              <circle cx={x} cy={y} r={8 * scale} />
              <path d={`M${x - 4 * scale} ${y}h${8 * scale}${label ? `M${x} ${y - 4 * scale}v${8 * scale}` : ""}`} />
            </g>
          ))}
          {cursor && tool !== "box" && (
            <circle class="brush-cursor" cx={cursor[0]} cy={cursor[1]}
              r={paints ? (brush * Math.max(width, height)) / 2000 : 8 * scale} />
          )}
        </svg>
      </div>
      <div class="toolbar" role="toolbar" aria-label="Drawing">
        {tools.map(([name, label, Icon]) => (
          <button type="button" class="icon" aria-pressed={tool === name} title={TITLES[name]} aria-label={label}
            onClick={() => setTool(name)}>
            <Icon />
          </button>
        ))}
        <span class="toolbar-rest" />
        <button type="button" class="icon" title="Undo (Ctrl+Z)" aria-label="Undo" disabled={!undos.current.length} onClick={undo}><Undo2 /></button>
        <button type="button" class="icon" title="Clear what is drawn" aria-label="Clear" disabled={!isDrawnOn(asked)} onClick={clear}><Trash2 /></button>
        <button type="button" class="icon" aria-pressed={shows} title="What the model sees" aria-label="Show what the model sees"
          onClick={() => setShows(!shows)}>
          {shows ? <Eye /> : <EyeOff />}
        </button>
        <button type="button" class="icon" title="Remove the picture" aria-label="Remove the picture" onClick={removePicture}><X /></button>
      </div>
      {tool === "points" && (
        <div class="choice wide" role="radiogroup" aria-label="What a click means">
          {[false, true].map((negative) => (
            <label class={isNegative === negative ? "is-chosen" : ""}>
              <input type="radio" name="label" checked={isNegative === negative} onChange={() => setNegative(negative)} />
              {negative ? "− Not this" : "+ This"}
            </label>
          ))}
        </div>
      )}
      {paints && (
        <label class="brush-size">
          Brush
          <input type="range" min={BRUSHES.least} max={BRUSHES.most} value={brush} aria-label="Size of the brush"
            onInput={(event) => setBrush(Number(event.currentTarget.value))} />
        </label>
      )}
      <p class="stage-hint" aria-live="polite">{seen.note ?? describe(drawn, tool)}</p>
    </>
  );
}

const LABELS: Record<Tool, string> = {
  box: "Picture. Enter draws a box, arrow keys move it, Shift and arrow keys resize it, Delete takes it away.",
  points: "Picture. Arrow keys move the mark, Enter puts a point, Alt and Enter a point for what is not meant.",
  brush: "Picture. Arrow keys move the brush, Enter paints.",
  eraser: "Picture. Arrow keys move the eraser, Enter erases.",
};
const TITLES: Record<Tool, string> = {
  box: "Box: drag; a click is a point, with Alt for what is not meant",
  points: "Points: click; with Alt for what is not meant",
  brush: "Brush: paint what you mean",
  eraser: "Eraser",
};

function describe(drawn: Drawn, tool: Tool): string {
  if (drawn.strokes.length) return "Painted. The eraser takes away, Ctrl+Z undoes.";
  const parts = [];
  if (drawn.box) parts.push(`Box of ${Math.round(drawn.box[2])} × ${Math.round(drawn.box[3])} pixels`);
  if (drawn.points.length) parts.push(drawn.points.length === 1 ? "1 point" : `${drawn.points.length} points`);
  if (parts.length) return `${parts.join(", ")}.`;
  return {
    box: "Drag a box around what you look for, or click on it.",
    points: "Click on what you look for.",
    brush: "Paint over what you look for.",
    eraser: "There is nothing to erase yet.",
  }[tool];
}

/** What the model takes the drawing for, and what keeps it from saying so. */
function useSegment(asked: Query, isOn: boolean): { segment: Segment | null; note: string | null } {
  const [found, setFound] = useState<{ segment: Segment | null; note: string | null }>({ segment: null, note: null });
  const isWanted = isOn && isDrawnOn(asked);
  useEffect(() => {
    if (!isWanted) return setFound({ segment: null, note: null });
    const stopper = new AbortController();
    segment(asked, stopper.signal).then(
      (value) => !stopper.signal.aborted && setFound({ segment: value, note: null }),
      (error) => {
        if (stopper.signal.aborted) return;
        const isSaid = error instanceof ServiceError && error.problem.status === 422;
        setFound({ segment: null, note: isSaid ? error.message.slice(0, 1).toUpperCase() + error.message.slice(1) + "." : null });
      },
    );
    return () => stopper.abort();
  }, [asked.box, asked.points, asked.strokes, isWanted]);
  return found;
}
