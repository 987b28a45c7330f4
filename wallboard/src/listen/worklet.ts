// The audio thread: plays what the page hands it, and hands it what the microphone hears.

import { Capture } from "./capture";
import { Playout } from "./playout";

declare const sampleRate: number;
declare function registerProcessor(name: string, processor: new (options: never) => AudioWorkletProcessor): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

const TELL_S = 0.1;

/** Told to the page ten times a second. */
export interface Told {
  /** Root mean square of each track since the last time, 0 to 1. */
  levels: number[];
  /** How long what is played was held back. */
  heldMs: number;
  gaps: number;
}

class Player extends AudioWorkletProcessor {
  private readonly tracks: Playout[];
  private powers: number[];
  private samples = 0;

  constructor({ processorOptions }: { processorOptions: { tracks: number } }) {
    super();
    this.tracks = Array.from({ length: processorOptions.tracks }, () => new Playout(sampleRate));
    this.powers = this.tracks.map(() => 0);
    this.port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
      const bytes = new Uint8Array(data);
      this.tracks[bytes[0] ?? -1]?.push(bytes.subarray(1));
    };
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const out = outputs[0]?.[0];
    if (out === undefined) return true;
    this.tracks.forEach((track, n) => (this.powers[n] = (this.powers[n] as number) + track.pull(out)));
    this.samples += out.length;
    if (this.samples >= TELL_S * sampleRate) {
      const told: Told = {
        levels: this.powers.map((power) => Math.sqrt(power / this.samples)),
        heldMs: Math.max(...this.tracks.map((track) => track.heldMs)),
        gaps: this.tracks.reduce((sum, track) => sum + track.gaps, 0),
      };
      this.port.postMessage(told);
      this.powers = this.tracks.map(() => 0);
      this.samples = 0;
    }
    return true;
  }
}

class Microphone extends AudioWorkletProcessor {
  private readonly capture = new Capture(sampleRate);

  process(inputs: Float32Array[][]): boolean {
    const heard = inputs[0]?.[0];
    if (heard) this.capture.push(heard, (frame) => this.port.postMessage(frame, [frame]));
    return true;
  }
}

registerProcessor("player", Player);
registerProcessor("microphone", Microphone);
