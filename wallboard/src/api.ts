// Requests to the API.

import { session } from "./session";
import type { ActResult } from "./wire";

/** What the API refused, with what to do. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly remedy: string,
  ) {
    super(detail);
  }
}

export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (session.value?.csrf) headers["X-CSRF-Token"] = session.value.csrf;
  const answer = await fetch(`/api/v1${path}`, {
    method,
    headers,
    cache: "no-store",
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as T;
  const problem = (await answer.json().catch(() => ({}))) as { detail?: string; remedy?: string };
  if (answer.status === 401 && path !== "/session") session.value = null;
  throw new Refused(answer.status, problem.detail ?? `HTTP ${answer.status}`, problem.remedy ?? "");
}

/** All pages of a list. */
export async function all<T>(path: string, field: string): Promise<T[]> {
  const rows: T[] = [];
  let after = "";
  do {
    const page: Record<string, unknown> = await ask(
      "GET",
      `${path}?limit=200${after && `&after=${encodeURIComponent(after)}`}`,
    );
    rows.push(...(page[field] as T[]));
    after = page["next"] as string;
  } while (after);
  return rows;
}

export function act(name: string, body: Record<string, unknown>): Promise<ActResult> {
  return ask("POST", `/actions/${name}`, body);
}
