// Recordings of calls: those there are, and that of a call which goes on. What docs/recording.md describes.

import { ask, Refused } from "./api";

export interface Recording {
  day: string;
  file: string;
  pbx: string;
  linkedid: string;
  profile: string;
  right: "bot" | "agent";
  started_at: number;
  state: "recording" | "closed" | "recovered" | "failed";
  duration_ms: number | null;
  paused_ms: number;
  error: string;
  audio: string;
}

export interface Peaks {
  duration_ms: number;
  left: number[];
  right: number[];
}

export interface LiveRecording {
  paused: boolean;
}

export async function recordings(query: Record<string, string>): Promise<Recording[]> {
  const answer = await ask<{ recordings: Recording[] }>("GET", `/recordings?${new URLSearchParams(query)}`);
  return answer.recordings;
}

export function peaks({ day, file }: Recording): Promise<Peaks> {
  return ask("GET", `/recordings/${encodeURIComponent(day)}/${encodeURIComponent(file)}/peaks`);
}

export interface LiveCallId {
  pbx: string;
  linkedid: string;
}

/** The recording of a call that goes on; null if there is none. */
export async function recordingOf(call: LiveCallId): Promise<LiveRecording | null> {
  try {
    return await ask("GET", pathOf(call));
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}

export const record = (call: LiveCallId): Promise<LiveRecording> => ask("POST", pathOf(call));
export const stopRecording = (call: LiveCallId): Promise<unknown> => ask("DELETE", pathOf(call));
export const pauseRecording = (call: LiveCallId, paused: boolean): Promise<LiveRecording> =>
  ask("PUT", pathOf(call), { paused });

function pathOf({ pbx, linkedid }: LiveCallId): string {
  return `/calls/${encodeURIComponent(pbx)}/${encodeURIComponent(linkedid)}/recording`;
}
