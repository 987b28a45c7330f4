// A long list is drawn a piece at a time, so that a change of the view never holds up what one types or hears.

import { useEffect, useState } from "preact/hooks";

const STEP = 20;

/** How many of a list are to be drawn: some at once, and soon all. */
export function useGrowing(total: number): number {
  const [count, setCount] = useState(STEP);
  useEffect(() => {
    if (count >= total) return undefined;
    const timer = window.setTimeout(() => setCount(count + STEP));
    return () => clearTimeout(timer);
  }, [count, total]);
  return count;
}
