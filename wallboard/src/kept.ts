// Answers that come again and again: only what differs is new.

/** What came, by id; what is as before stays the same object, so that nothing is drawn again for it. */
export function kept<T>(before: Map<string, T> | null, fresh: Iterable<readonly [string, T]>): Map<string, T> {
  const found = new Map<string, T>();
  for (const [id, value] of fresh) {
    const old = before?.get(id);
    found.set(id, old !== undefined && JSON.stringify(old) === JSON.stringify(value) ? old : value);
  }
  return found;
}
