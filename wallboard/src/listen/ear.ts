// Being in a conversation with no phone: /api/v1/listen, the audio thread, and the microphone where one speaks.

import { signal } from "@preact/signals";
import type { Told } from "./worklet";

export type Mode = "listen" | "whisper" | "barge";

export interface Target {
  pbx: string;
  /** Id of an agent, or the linkedid of a call; one of both. */
  agent?: string;
  call?: string;
  /** As the page calls them. */
  name: string;
  mode: Mode;
}

export type Phase = "connecting" | "hears" | "ended";

export interface Ear {
  target: Target;
  phase: Phase;
  /** Why it ended; the word of a message, or the connector's sentence. */
  why: string;
  tracks: string[];
  levels: number[];
  heldMs: number;
  /** Of the own microphone; null where there is none. */
  own: number | null;
  muted: boolean;
}

/** What is listened to; null for nothing. */
export const ear = signal<Ear | null>(null);

const LEFT_MS = 4000;
/** What a close of the socket means; else it is in the connector's own words. */
const WHY: Record<number, string> = {
  1000: "ears.over",
  1001: "ears.stopped",
  1006: "", // the browser was told nothing
  1008: "ears.foreign",
  1013: "ears.slow",
  4401: "ears.logged_out",
};

let stop: (() => void) | null = null;
let mute: ((muted: boolean) => void) | null = null;

function change(fields: Partial<Ear>): void {
  if (ear.value) ear.value = { ...ear.value, ...fields };
}

/** Begins; to be called while a click or key is handled, or the browser stays silent. */
export async function begin(target: Target): Promise<void> {
  end();
  const own = target.mode === "listen" ? null : 0;
  ear.value = { target, phase: "connecting", why: "", tracks: [], levels: [], heldMs: 0, own, muted: false };
  const closing: (() => void)[] = [];
  let over = false;
  const finish = (why: string): void => {
    if (over) return;
    over = true;
    for (const each of closing.reverse()) each();
    if (stop === finishNow) {
      stop = mute = null;
      change({ phase: "ended", why, levels: [], heldMs: 0, own: null });
      if (why === "ears.left") {
        const left = ear.value; // they know; it is told to who cannot see it, and goes
        window.setTimeout(() => ear.value === left && (ear.value = null), LEFT_MS);
      }
    }
  };
  const finishNow = (): void => finish("ears.left");
  stop = finishNow;
  try {
    if (!window.isSecureContext || !("AudioWorklet" in window)) return finish("ears.insecure");
    const context = new AudioContext({ latencyHint: "interactive" });
    closing.push(() => void context.close());
    await context.audioWorklet.addModule("/static/listen.js");
    const microphone = target.mode === "listen" ? null : await openMicrophone(context, closing);
    if (over) return;
    await connect(target, context, microphone, closing, finish);
  } catch (error) {
    finish(error instanceof DOMException && error.name === "NotAllowedError" ? "ears.no_microphone" : String(error));
  }
}

/** Ends it; what was heard of it is still shown. */
export function end(): void {
  stop?.();
}

/** Takes it off the page. */
export function dismiss(): void {
  end();
  ear.value = null;
}

/** No sound to the ear; who speaks is not heard instead. */
export function setMuted(muted: boolean): void {
  mute?.(muted);
  change({ muted });
}

async function openMicrophone(context: AudioContext, closing: (() => void)[]): Promise<AudioWorkletNode> {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
  closing.push(() => stream.getTracks().forEach((track) => track.stop()));
  const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  context.createMediaStreamSource(stream).connect(node);
  return node;
}

async function connect(
  target: Target,
  context: AudioContext,
  microphone: AudioWorkletNode | null,
  closing: (() => void)[],
  finish: (why: string) => void,
): Promise<void> {
  const query = new URLSearchParams({ pbx: target.pbx, mode: target.mode });
  query.set(target.agent === undefined ? "call" : "agent", target.agent ?? target.call ?? "");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const path = `/api/v1/listen?${query}`;
  const socket = new WebSocket(`${scheme}://${location.host}${path}`);
  socket.binaryType = "arraybuffer";
  const volume = context.createGain();
  volume.connect(context.destination);
  let player: AudioWorkletNode | null = null;
  let speaks = microphone !== null;
  closing.push(() => socket.close());
  mute = (muted) => {
    if (microphone) speaks = !muted;
    else volume.gain.value = muted ? 0 : 1;
  };
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (typeof data !== "string") {
      player?.port.postMessage(data, [data]);
      return;
    }
    const { tracks } = JSON.parse(data) as { tracks: string[] };
    player = new AudioWorkletNode(context, "player", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { tracks: tracks.length },
    });
    let own = 0; // the loudest frame of the microphone since the last time
    player.port.onmessage = ({ data: told }: MessageEvent<Told>) => {
      change({ levels: told.levels, heldMs: told.heldMs, ...(microphone && { own }) });
      own = 0;
    };
    player.connect(volume);
    void context.resume();
    change({ phase: "hears", tracks });
    if (microphone) {
      microphone.port.onmessage = ({ data: frame }: MessageEvent<ArrayBuffer>) => {
        own = speaks ? Math.max(own, levelOf(frame)) : 0;
        // What waits for a slow network would be heard too late: it is left out.
        if (speaks && socket.readyState === WebSocket.OPEN && socket.bufferedAmount < 2000) socket.send(frame);
      };
    }
  };
  socket.onclose = ({ code, reason }) => finish(WHY[code] ?? reason);
  await new Promise((resolve) => socket.addEventListener("close", resolve));
  if (ear.value?.phase !== "ended" || ear.value.target !== target) return;
  if (ear.value.why === "") change({ why: await whyRefused(path) });
}

/** Root mean square of a frame, 0 to 1. */
function levelOf(frame: ArrayBuffer): number {
  const samples = new Int16Array(frame); // little-endian, as all machines with browsers are
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length) / 32768;
}

/** A browser does not tell a page why a WebSocket was refused; the same address asked plainly does. */
async function whyRefused(path: string): Promise<string> {
  const answer = await fetch(path, { cache: "no-store" }).catch(() => null);
  const problem = (await answer?.json().catch(() => null)) as { type?: string; detail?: string; remedy?: string } | null;
  if (!problem?.detail || problem.type?.endsWith(":upgrade-required")) return "ears.lost";
  return `${problem.detail} ${problem.remedy ?? ""}`;
}
