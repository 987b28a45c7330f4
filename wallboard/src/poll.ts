// What is asked for again and again while a view shows it.

import { signal, type Signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { session } from "./session";

export interface Polled<T> {
  value: T | null;
  /** When it came, by this machine's clock; 0 for never. */
  at: number;
  error: string;
}

export function usePoll<T>(read: (before: T | null) => Promise<T>, period_ms: number, key = ""): Signal<Polled<T>> {
  const result = useMemo(() => signal<Polled<T>>({ value: null, at: 0, error: "" }), [key]);
  useEffect(() => {
    let timer = 0;
    let ended = false;
    const once = async (): Promise<void> => {
      try {
        const value = await read(result.value.value);
        if (!ended) result.value = { value, at: Date.now() / 1000, error: "" };
      } catch (error) {
        if (!ended) result.value = { ...result.value, error: error instanceof Error ? error.message : String(error) };
      }
      if (!ended && session.value) timer = window.setTimeout(once, period_ms);
    };
    void once();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, [key]);
  return result;
}
