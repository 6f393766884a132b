// Filters as fields to fill in; each becomes a filter of `virtue search --where`.

import { SlidersHorizontal, X } from "lucide-preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { getSuggestions, type Suggestions } from "./api";
import { place, refine } from "./address";
import { shown } from "./text";

interface Field {
  name: string;
  label: string;
  /** Reads what a filter asks for; null: it is another's. */
  read: RegExp;
  write: (value: string) => string;
  kind: "date" | "text" | "rating";
  suggest?: keyof Suggestions;
}

/** A value as filters take it. */
export function quoted(text: string): string {
  if (/^[\w./-]+$/.test(text) && !/^(and|or|not|in)$/i.test(text)) return text;
  return text.includes("'") ? `"${text.replaceAll('"', "?")}"` : `'${text}'`;
}

const unquoted = (text: string) => text.replace(/^(['"])(.*)\1$/s, "$2");

const FIELDS: Field[] = [
  { name: "from", label: "Taken from", read: /^taken >= (.+)$/s, write: (value) => `taken >= ${value}`, kind: "date" },
  { name: "to", label: "Taken until", read: /^taken <= (.+)$/s, write: (value) => `taken <= ${value}`, kind: "date" },
  { name: "folder", label: "Folder", read: /^path ~ (['"]?.+\/\*['"]?)$/s, write: (value) => `path ~ ${quoted(`${value.replace(/\/+$/, "")}/*`)}`, kind: "text", suggest: "folders" },
  { name: "tag", label: "Tag", read: /^tag = (.+)$/s, write: (value) => `tag = ${quoted(value)}`, kind: "text", suggest: "tags" },
  { name: "camera", label: "Camera", read: /^camera = (.+)$/s, write: (value) => `camera = ${quoted(value)}`, kind: "text", suggest: "cameras" },
  { name: "thing", label: "Thing in it", read: /^object = (.+)$/s, write: (value) => `object = ${quoted(value)}`, kind: "text", suggest: "objects" },
  { name: "rating", label: "Rating, at least", read: /^rating >= (\d)$/, write: (value) => `rating >= ${value}`, kind: "rating" },
];

function valueIn(where: string[], field: Field): string {
  for (const filter of where) {
    const found = field.read.exec(filter);
    if (found) return field.name === "folder" ? unquoted(found[1]).replace(/\/\*$/, "") : unquoted(found[1]);
  }
  return "";
}

const isOfField = (filter: string) => FIELDS.some((field) => field.read.test(filter));

export function FiltersButton() {
  const [isOpen, setOpen] = useState(false);
  const { where } = place.value.query;
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    const outside = (event: Event) => !box.current?.contains(event.target as Node) && setOpen(false);
    const escape = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      setOpen(false);
      box.current?.querySelector("button")?.focus();
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("keydown", escape);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("keydown", escape);
    };
  }, [isOpen]);
  return (
    <div class="filters" ref={box}>
      <button type="button" class="icon" aria-expanded={isOpen} aria-label={where.length ? `Filters, ${where.length} set` : "Filters"}
        title="Filters" onClick={() => setOpen(!isOpen)}>
        <SlidersHorizontal />
        {where.length > 0 && <span class="badge">{where.length}</span>}
      </button>
      {isOpen && <Panel close={() => setOpen(false)} />}
    </div>
  );
}

function Panel({ close }: { close: () => void }) {
  const { where } = place.value.query;
  const [suggestions, setSuggestions] = useState<Suggestions | null>(null);
  const [values, setValues] = useState(() => Object.fromEntries(FIELDS.map((field) => [field.name, valueIn(where, field)])));
  const [other, setOther] = useState(where.filter((filter) => !isOfField(filter)).join("\n"));
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    form.current?.querySelector("input")?.focus();
    const stopper = new AbortController();
    getSuggestions(stopper.signal).then(setSuggestions, () => undefined); // they only help to fill in
    return () => stopper.abort();
  }, []);
  const apply = (event: Event) => {
    event.preventDefault();
    const set = FIELDS.filter((field) => values[field.name].trim()).map((field) => field.write(values[field.name].trim()));
    refine({ where: [...set, ...other.split("\n").map((line) => line.trim()).filter(Boolean)] });
    close();
  };
  const change = (name: string) => (event: Event) =>
    setValues({ ...values, [name]: (event.currentTarget as HTMLInputElement).value });
  return (
    <form class="panel" ref={form} onSubmit={apply} aria-label="Filters">
      {FIELDS.map((field) => (
        <label class={`field is-${field.kind}`}>
          <span>{field.label}</span>
          {field.kind === "rating" ? (
            <select value={values[field.name]} onChange={change(field.name)}>
              <option value="">Any</option>
              {[1, 2, 3, 4, 5].map((stars) => <option value={stars}>{"★".repeat(stars)}</option>)}
            </select>
          ) : (
            <input type={field.kind} name={field.name} value={values[field.name]} onInput={change(field.name)}
              list={field.suggest && `suggest-${field.name}`} autocomplete="off" />
          )}
          {field.suggest && (
            <datalist id={`suggest-${field.name}`}>{suggestions?.[field.suggest].map((value) => <option value={value} />)}</datalist>
          )}
        </label>
      ))}
      <label class="field is-wide">
        <span>Other, as <code>width &gt; 4000 or tag = beach</code></span>
        <input type="text" value={other} onInput={(event) => setOther(event.currentTarget.value)} autocomplete="off" />
      </label>
      <div class="panel-buttons">
        <button type="button" class="button" onClick={() => { refine({ where: [] }); close(); }}>Clear</button>
        <button type="submit" class="button primary">Show photos</button>
      </div>
    </form>
  );
}

export function FilterChips() {
  const { where } = place.value.query;
  return (
    <>
      {where.map((filter) => (
        <li>
          <button type="button" class="chip is-set" aria-label={`Remove the filter ${shown(filter)}`}
            onClick={() => refine({ where: where.filter((each) => each !== filter) })}>
            <bdi>{shown(filter)}</bdi> <X />
          </button>
        </li>
      ))}
    </>
  );
}
