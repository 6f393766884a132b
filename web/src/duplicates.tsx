// Photos that are the same picture, side by side. Nothing is deleted here.

import { Copy } from "lucide-preact";
import { getSimilar, thumbnail, type Similar } from "./api";
import { openPhoto, place, writePlace } from "./address";
import { say } from "./giving";
import { Failed, Loading, Message } from "./states";
import { copyText, count, fileName, folderName } from "./text";
import { useLoaded } from "./use";

const TIERS = {
  "same-file": "another name of the same file",
  "same-bytes": "the same bytes",
  "same-picture": "the same picture, saved again",
  similar: "similar",
} as const;

export function Duplicates() {
  const groups = useLoaded(getSimilar, []);
  if (groups.error) return <Failed error={groups.error} />;
  if (!groups.value) return <Loading words="Looking for duplicates" />;
  if (!groups.value.length)
    return <Message title="No duplicates"><p>No two photos of this library show the same picture.</p></Message>;
  return (
    <section class="duplicates" aria-label="Duplicates">
      <p class="hint">{count(groups.value.length, "group")} of photos that show the same picture. The largest stands first. Nothing is deleted here.</p>
      {groups.value.map((group) => (
        <article class="group" aria-label={`${group.length} files`}>
          <ul>{group.map((file) => <File file={file} />)}</ul>
        </article>
      ))}
    </section>
  );
}

function File({ file }: { file: Similar }) {
  const { photo_id, path, width, height } = file;
  const open = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || photo_id === null) return;
    event.preventDefault();
    openPhoto(photo_id, null);
  };
  const copy = () => copyText(path).then(() => say("Path copied."), () => say("This browser does not let the page copy."));
  return (
    <li class="twin">
      {photo_id !== null && (
        <a href={writePlace({ ...place.value, open: photo_id, at: null })} onClick={open} aria-label={`Open ${fileName(path)}`}>
          <img src={thumbnail(photo_id, 512)} alt="" loading="lazy" style={{ "--ratio": width / height }} />
        </a>
      )}
      <p class={`tier ${file.tier === null ? "is-first" : ""}`}>{file.tier === null ? "the largest" : TIERS[file.tier]}</p>
      <p class="path">
        <span><bdi>{fileName(path)}</bdi><small><bdi>{folderName(path)}</bdi></small></span>
        <button type="button" class="icon small" title="Copy the path" aria-label={`Copy the path of ${fileName(path)}`} onClick={copy}><Copy /></button>
      </p>
      <p class="twin-facts">{width} × {height}</p>
    </li>
  );
}
