// What several views need of Preact.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useSignalEffect } from "@preact/signals";
import { revision } from "./api";

export interface Loaded<T> {
  value: T | null;
  error: Error | null;
  isLoading: boolean;
}

/** Loads something, again whenever `keys` change or the service is back; the last value stays meanwhile. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, keys: unknown[]): Loaded<T> {
  const [state, setState] = useState<Loaded<T>>({ value: null, error: null, isLoading: true });
  const again = useRevision();
  useEffect(() => {
    const stopper = new AbortController();
    setState((before) => ({ ...before, error: null, isLoading: true }));
    load(stopper.signal).then(
      (value) => !stopper.signal.aborted && setState({ value, error: null, isLoading: false }),
      (error) => !stopper.signal.aborted && setState((before) => ({ ...before, error, isLoading: false })),
    );
    return () => stopper.abort();
  }, [...keys, again]);
  return state;
}

export function useRevision(): number {
  const [now, setNow] = useState(revision.peek());
  useSignalEffect(() => setNow(revision.value));
  return now;
}

/** Whether something goes on for so long that it should be said. */
export function useSlow(isGoingOn: boolean, seconds: number): boolean {
  const [isSlow, setSlow] = useState(false);
  useEffect(() => {
    setSlow(false);
    if (!isGoingOn) return;
    const timer = setTimeout(() => setSlow(true), seconds * 1000);
    return () => clearTimeout(timer);
  }, [isGoingOn, seconds]);
  return isSlow;
}

/** Keeps Tab within a dialog, and gives the focus back when it closes. */
export function useDialog<E extends HTMLElement>() {
  const box = useRef<E>(null);
  // Before the browser takes the focus off what cannot be used meanwhile.
  useLayoutEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    box.current?.focus({ preventScroll: true });
    // Once what lies below can be used again.
    return () => void setTimeout(() => before?.focus?.({ preventScroll: true }));
  }, []);
  return box;
}

/** Calls `more` when the end comes near. */
export function useEnd(more: () => void, isOn: boolean) {
  const end = useRef<HTMLDivElement>(null);
  const latest = useRef(more);
  latest.current = more;
  useEffect(() => {
    if (!isOn || !end.current) return;
    const observer = new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && latest.current(),
      { rootMargin: "800px" },
    );
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [isOn]);
  return end;
}
