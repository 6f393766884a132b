// What is shown where there is nothing else to show: loading, nothing, errors.

import { ImageOff, SearchX, TriangleAlert } from "lucide-preact";
import type { ComponentChildren } from "preact";
import { useSlow } from "./use";
import { GoneError, ServiceError } from "./api";

const RATIOS = [1.5, 0.75, 1.33, 1, 1.5, 1.78, 0.67, 1.33, 1.5, 1, 0.8, 1.6];

export function Loading({ words = "Loading" }: { words?: string }) {
  const isSlow = useSlow(true, 2);
  return (
    <div class="loading" role="status">
      <span class={isSlow ? "loading-words" : "hidden"}>
        {isSlow ? "Still at it. The model may be loading, which takes some seconds." : words}
      </span>
      <ul class="grid" aria-hidden="true">
        {RATIOS.map((ratio) => <li class="tile is-waiting" style={{ "--ratio": ratio }} />)}
        <li class="grid-rest" />
      </ul>
    </div>
  );
}

interface MessageProps {
  icon?: "nothing" | "empty" | "error";
  title: string;
  children?: ComponentChildren;
}

export function Message({ icon = "nothing", title, children }: MessageProps) {
  const Icon = { nothing: SearchX, empty: ImageOff, error: TriangleAlert }[icon];
  return (
    <div class="message" role={icon === "error" ? "alert" : "status"}>
      <span class={`message-icon is-${icon}`}><Icon /></span>
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Failed({ error, retry }: { error: Error; retry?: () => void }) {
  if (error instanceof GoneError) return <Loading words="Waiting for the service" />;
  const text = error instanceof ServiceError ? error.problem.detail : error.message;
  return (
    <Message icon="error" title="That did not work">
      <p><bdi>{text.slice(0, 1).toUpperCase() + text.slice(1)}</bdi></p>
      {retry && <button type="button" class="button" onClick={retry}>Try again</button>}
    </Message>
  );
}
