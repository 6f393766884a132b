// How one came here: the queries before this one, each a way back.

import { ChevronRight } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { thumbnail } from "./api";
import { go, place } from "./address";
import { readQuery, type Picture, type Query } from "./query";
import { shown } from "./text";
import { loadUpload } from "./uploads";

export function Breadcrumbs() {
  const { chain, query } = place.value;
  if (!chain.length) return null;
  return (
    <nav class="crumbs" aria-label="Queries before this one">
      <ol>
        {chain.map((step, at) => {
          const earlier = readQuery(new URLSearchParams(step));
          return (
            <li>
              <button type="button" onClick={() => go({ query: earlier, chain: chain.slice(0, at) })}><Crumb query={earlier} /></button>
              <ChevronRight aria-hidden="true" />
            </li>
          );
        })}
        <li aria-current="true"><span><Crumb query={query} /></span></li>
      </ol>
    </nav>
  );
}

function Crumb({ query }: { query: Query }) {
  const words = query.text || (query.picture ? "" : query.more.length || query.less.length ? "like these" : query.where.join(", "));
  return (
    <>
      {query.picture && <PictureThumbnail picture={query.picture} query={query} />}
      {words ? <bdi>{shown(words)}</bdi> : <span class="hidden">{query.region || query.box ? "A region" : "A picture"}</span>}
    </>
  );
}

/** A small picture of what is asked with. */
export function PictureThumbnail({ picture, query }: { picture: Picture; query?: Query }) {
  const [address, setAddress] = useState("");
  const upload = "upload" in picture ? picture.upload : null;
  useEffect(() => {
    if (upload === null) return;
    let made = "";
    loadUpload(upload).then((file) => {
      if (file) setAddress((made = URL.createObjectURL(file)));
    });
    return () => URL.revokeObjectURL(made);
  }, [upload]);
  const source = "photo" in picture ? thumbnail(picture.photo, 128, query?.box ?? undefined) : address;
  return source ? <img class="mini" src={source} alt="" /> : <span class="mini" />;
}
