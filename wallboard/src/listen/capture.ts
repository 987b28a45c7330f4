// The microphone's samples as frames of 20 ms at 8 kHz, 16 bits each, little-endian. Pure.

import { Reader } from "./resample";

const RATE_HZ = 8000;
const FRAME = 160;
const RING = 8192;

export class Capture {
  private readonly ring = new Float32Array(RING);
  private readonly reader: Reader;
  private readonly step: number;
  private end = 0;
  private position: number;
  private frame = new DataView(new ArrayBuffer(2 * FRAME));
  private filled = 0;

  /** @param rateIn Of the sound card. */
  constructor(rateIn: number) {
    this.reader = new Reader((0.46 * RATE_HZ) / Math.max(rateIn, RATE_HZ));
    this.step = rateIn / RATE_HZ;
    this.position = this.reader.reach;
  }

  /** Takes samples; gives each frame that became whole. */
  push(samples: Float32Array, whole: (frame: ArrayBuffer) => void): void {
    for (const sample of samples) this.ring[this.end++ & (RING - 1)] = sample;
    while (this.position + this.reader.reach < this.end) {
      const value = Math.max(-1, Math.min(1, this.reader.at(this.ring, this.position)));
      this.frame.setInt16(2 * this.filled++, Math.round(value * 32767), true);
      this.position += this.step;
      if (this.filled === FRAME) {
        whole(this.frame.buffer as ArrayBuffer);
        this.frame = new DataView(new ArrayBuffer(2 * FRAME));
        this.filled = 0;
      }
    }
  }
}
