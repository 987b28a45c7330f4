import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture } from "../src/listen/capture";
import { fromMulaw } from "../src/listen/mulaw";
import { Playout } from "../src/listen/playout";

const OUT_HZ = 48_000;

/** Mu-law of a sample (ITU-T G.711), the plain way. */
function toMulaw(sample: number): number {
  const value = Math.min(32635, Math.abs(Math.round(sample * 32768))) + 132;
  let exponent = 7;
  for (let mask = 0x4000; exponent > 0 && !(value & mask); mask >>= 1) exponent--;
  return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | ((value >> (exponent + 3)) & 15)) & 0xff;
}

function frames(hz: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, frame) =>
    Uint8Array.from({ length: 160 }, (_, n) => toMulaw(0.5 * Math.sin((2 * Math.PI * hz * (frame * 160 + n)) / 8000))),
  );
}

/** The amplitude of a tone. */
function strength(samples: Float32Array, hz: number, rate: number): number {
  let [re, im] = [0, 0];
  samples.forEach((sample, n) => {
    re += sample * Math.cos((2 * Math.PI * hz * n) / rate);
    im += sample * Math.sin((2 * Math.PI * hz * n) / rate);
  });
  return (2 * Math.hypot(re, im)) / samples.length;
}

/** Plays for so many 20 ms, each after a frame came, except where `late` says. */
function play(playout: Playout, sent: Uint8Array[], late: (n: number) => boolean = () => false): Float32Array {
  const played = new Float32Array(sent.length * 960);
  const waiting: Uint8Array[] = [];
  sent.forEach((frame, n) => {
    waiting.push(frame);
    if (!late(n)) waiting.splice(0).forEach((each) => playout.push(each));
    // As a sound card asks: 128 samples, so 7 or 8 times in 20 ms.
    for (let at = n * 960; at < (n + 1) * 960; at += 120) playout.pull(played.subarray(at, at + 120));
  });
  return played;
}

test("mu-law is that of the recommendation at its ends", () => {
  const samples = new Float32Array(4);
  fromMulaw(Uint8Array.of(0x00, 0x80, 0xff, 0x7f), samples);
  assert.deepEqual([...samples].map((each) => Math.round(each * 32768) + 0), [-32124, 32124, 0, 0]);
});

test("a tone comes out at the sound card's rate, as loud, with no image of it", () => {
  const playout = new Playout(OUT_HZ);
  const played = play(playout, frames(1000, 100)).subarray(OUT_HZ / 2);
  assert.ok(Math.abs(strength(played, 1000, OUT_HZ) - 0.5) < 0.01);
  assert.ok(strength(played, 7000, OUT_HZ) < 0.005);
  assert.equal(playout.gaps, 0);
  assert.ok(playout.heldMs <= 65);
});

test("frames that come late make it hold back more, and no more than it must", () => {
  const playout = new Playout(OUT_HZ);
  play(playout, frames(1000, 200), (n) => n % 10 < 4);
  assert.ok(playout.gaps >= 1 && playout.gaps <= 4, `${playout.gaps} gaps`);
  assert.ok(playout.wanted >= 4 * 160 && playout.wanted <= 8 * 160);
});

test("a stall is not heard for ever: what is too late is skipped", () => {
  const playout = new Playout(OUT_HZ);
  play(playout, frames(1000, 150), (n) => n >= 50 && n < 95);
  assert.ok(playout.heldMs < 330, `${playout.heldMs} ms`);
});

test("a clock that is 0.1 % faster makes no queue", () => {
  const playout = new Playout(OUT_HZ * 1.001);
  play(playout, frames(1000, 3000));
  assert.ok(playout.heldMs < 100, `${playout.heldMs} ms`);
  assert.ok(playout.gaps <= 1);
});

test("the microphone's tone goes out at 8 kHz; what does not fit is left out", () => {
  for (const [hz, expected] of [[1000, 0.5], [6000, 0]] as const) {
    const capture = new Capture(OUT_HZ);
    const sent: number[] = [];
    for (let at = 0; at < OUT_HZ; at += 128) {
      const samples = Float32Array.from({ length: 128 }, (_, n) => 0.5 * Math.sin((2 * Math.PI * hz * (at + n)) / OUT_HZ));
      capture.push(samples, (frame) => {
        assert.equal(frame.byteLength, 320);
        for (let n = 0; n < 320; n += 2) sent.push(new DataView(frame).getInt16(n, true) / 32768);
      });
    }
    const heard = Float32Array.from(sent).subarray(800);
    assert.ok(Math.abs(sent.length - 8000) < 320);
    assert.ok(Math.abs(strength(heard, 1000, 8000) - expected) < 0.02);
    assert.ok(strength(heard, 2000, 8000) < 0.01);
  }
});
