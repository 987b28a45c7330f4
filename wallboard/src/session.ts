// Who is logged in.

import { signal } from "@preact/signals";
import type { Session } from "./wire";

/** undefined until it is known, null for nobody. */
export const session = signal<Session | null | undefined>(undefined);
/** Title of the single sign-on, if there is one. */
export const sso = signal("");

export function may(right: string): boolean {
  return session.value?.rights.includes(right) ?? false;
}

export function enter(answer: Session): void {
  sso.value = answer.sso;
  session.value = answer.role === null ? null : answer;
}
