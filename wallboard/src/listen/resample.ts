// Reading a signal between its samples: a windowed sinc (Smith, "Digital Audio Resampling"), by table. Pure.

const PHASES = 256;

export class Reader {
  /** How many samples are needed on each side of a position. */
  readonly reach: number;
  private readonly taps: number;
  private readonly table: Float32Array;

  /**
   * @param cutoff The highest frequency that is to pass, as a part of the signal's rate; below 0.5.
   * @param zeros Zero crossings of the sinc on each side.
   */
  constructor(cutoff: number, zeros = 8) {
    this.reach = Math.ceil(zeros / (2 * cutoff));
    this.taps = 2 * this.reach;
    this.table = new Float32Array((PHASES + 1) * this.taps);
    for (let phase = 0; phase <= PHASES; phase++) {
      const row = this.table.subarray(phase * this.taps, (phase + 1) * this.taps);
      for (let tap = 0; tap < this.taps; tap++) {
        const x = tap - this.reach + 1 - phase / PHASES;
        const window = Math.abs(x) < this.reach ? 0.5 + 0.5 * Math.cos((Math.PI * x) / this.reach) : 0;
        row[tap] = window * (x === 0 ? 2 * cutoff : Math.sin(2 * Math.PI * cutoff * x) / (Math.PI * x));
      }
      const sum = row.reduce((a, b) => a + b, 0);
      for (let tap = 0; tap < this.taps; tap++) row[tap] = (row[tap] as number) / sum; // each phase as loud as the others
    }
  }

  /** The signal at a position; `samples` is a ring whose length is a power of two. */
  at(samples: Float32Array, position: number): number {
    const mask = samples.length - 1;
    const whole = Math.floor(position);
    const row = Math.round((position - whole) * PHASES) * this.taps;
    const first = whole - this.reach + 1;
    let sum = 0;
    for (let tap = 0; tap < this.taps; tap++) {
      sum += (this.table[row + tap] as number) * (samples[(first + tap) & mask] as number);
    }
    return sum;
  }
}
