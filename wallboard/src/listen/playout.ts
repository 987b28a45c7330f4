// What was received, held back just long enough to play without gaps, at the rate of the sound card. Pure.
//
// How long is learned: each gap makes it 20 ms more, up to a bound; quiet time makes it less again. What is held back too
// long is played a little faster (0.5 %, nobody hears it), and what is far too long is skipped. This takes up the
// difference of the clocks, too.

import { fromMulaw } from "./mulaw";
import { Reader } from "./resample";

export const RATE_HZ = 8000;
const FRAME = 160;
const RING = 8192; // about a second
const LEAST = 2 * FRAME;
const MOST = 8 * FRAME;
const SKIP = 6 * FRAME; // beyond what is wanted
const CALM_S = 20;
const HASTE = 0.005;

export class Playout {
  /** Samples that are held back before playing begins. */
  wanted = LEAST;
  gaps = 0;
  private readonly ring = new Float32Array(RING);
  private readonly reader = new Reader(0.46);
  private end = 0; // of what was received
  private position = 0; // of what is played next
  private playing = false;
  private calm = 0;

  constructor(private readonly rateOut: number) {}

  /** Milliseconds between a sample's arrival and its playing. */
  get heldMs(): number {
    return ((this.end - this.position) / RATE_HZ) * 1000;
  }

  push(frame: Uint8Array): void {
    const fresh = new Float32Array(frame.length);
    fromMulaw(frame, fresh);
    for (const sample of fresh) this.ring[this.end++ & (RING - 1)] = sample;
    if (!this.playing && this.end - this.position >= this.wanted) {
      this.playing = true;
      this.position = Math.max(this.position, this.end - this.wanted);
    }
    if (this.end - this.position > this.wanted + SKIP) this.position = this.end - this.wanted;
  }

  /** Adds what is to be played to `out`; gives the sum of its squares. */
  pull(out: Float32Array): number {
    const held = this.end - this.position;
    const pace = held > this.wanted + FRAME ? 1 + HASTE : held < this.wanted / 2 ? 1 - HASTE : 1;
    const step = (RATE_HZ / this.rateOut) * pace;
    let power = 0;
    for (let n = 0; n < out.length && this.playing; n++) {
      if (this.position + this.reader.reach >= this.end) {
        this.playing = false;
        this.gaps++;
        this.calm = 0;
        this.wanted = Math.min(MOST, this.wanted + FRAME);
        break;
      }
      const sample = this.reader.at(this.ring, this.position);
      out[n] = (out[n] as number) + sample;
      power += sample * sample;
      this.position += step;
    }
    this.calm += out.length;
    if (this.calm > CALM_S * this.rateOut) {
      this.calm = 0;
      this.wanted = Math.max(LEAST, this.wanted - FRAME);
    }
    return power;
  }
}
