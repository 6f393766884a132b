// All photos of the library, the newest first, month by month.

import { useEffect, useRef, useState } from "preact/hooks";
import { FolderPlus } from "lucide-preact";
import { listPhotos, type Photo } from "./api";
import { go, query, refine } from "./address";
import { shownPhotos } from "./answers";
import { Grid, PhotoTile } from "./grid";
import { Failed, Loading, Message } from "./states";
import { count, month } from "./text";
import { useEnd, useRevision } from "./use";

const AT_ONCE = 60;

interface Listed {
  photos: Photo[];
  total: number;
}

export function Photos() {
  const { where } = query.value;
  const filters = where.join("\n");
  const again = useRevision();
  const [listed, setListed] = useState<Listed | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const isLoading = useRef(false);
  const stopper = useRef(new AbortController());

  const load = async (before: Photo[]) => {
    stopper.current.abort();
    const mine = (stopper.current = new AbortController());
    isLoading.current = true;
    setError(null);
    try {
      const found = await listPhotos(where, AT_ONCE, before.length, mine.signal);
      if (mine.signal.aborted) return;
      const photos = [...before, ...found.photos];
      setListed({ photos, total: found.total });
      shownPhotos.value = photos.map((photo) => photo.photo_id);
    } catch (failure) {
      if (mine.signal.aborted) return;
      setError(failure as Error);
    }
    isLoading.current = false;
  };

  useEffect(() => {
    load([]);
    return () => stopper.current.abort();
  }, [filters, again]);

  const hasMore = listed !== null && listed.photos.length < listed.total;
  const end = useEnd(() => !isLoading.current && listed && load(listed.photos), hasMore && !error);

  if (error && !listed) return <Failed error={error} retry={() => load([])} />;
  if (!listed) return <Loading words="Loading photos" />;
  if (!listed.total && where.length)
    return (
      <Message title="No photo fits all filters">
        <button type="button" class="button" onClick={() => refine({ where: [] })}>Clear the filters</button>
      </Message>
    );
  if (!listed.total)
    return (
      <Message icon="empty" title="This library is empty">
        <p>Index a folder of photos. They stay where they are, and on this machine.</p>
        <button type="button" class="button primary" onClick={() => go({ view: "index" })}><FolderPlus /> Index photos</button>
      </Message>
    );
  const months = group(listed.photos);
  return (
    <section class="photos" aria-label="Photos">
      <p class="hint">
        {count(listed.total, "photo")}. Type what you look for, drop or paste a picture, or open a photo and draw on it.
      </p>
      {months.map(([name, photos]) => (
        <div key={name}>
          {(months.length > 1 || name !== "No date") && <h2 class="month">{name}</h2>}
          <Grid label={name}>{photos.map((photo) => <PhotoTile key={photo.photo_id} photo={photo} />)}</Grid>
        </div>
      ))}
      {error && <Failed error={error} retry={() => load(listed.photos)} />}
      <div ref={end} class="end" />
    </section>
  );
}

/** Photos by month, each month once: those without a date stand where their file was changed. */
function group(photos: Photo[]): [string, Photo[]][] {
  const months = new Map<string, Photo[]>();
  for (const photo of photos) {
    const name = month(photo.taken);
    months.set(name, [...(months.get(name) ?? []), photo]);
  }
  return [...months];
}
