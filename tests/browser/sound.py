"""What a page plays, as a real browser's own analyser hears it, and what its microphone hears."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from playwright.async_api import Page

from connector.audio.tone import sine

MICROPHONE_HZ = 1_900
RATE_HZ = 48_000

# Between the page's sound and the loudspeaker, so that the page itself needs to know nothing of the test.
LISTEN_IN = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to === this.context.destination) {
    window.heard = new AnalyserNode(this.context, { fftSize: 8192, smoothingTimeConstant: 0 });
    window.quick = new AnalyserNode(this.context, { fftSize: 256 });
    connect.call(this, window.heard);
    connect.call(this, window.quick);
  }
  return connect.call(this, to, ...rest);
};
window.tones = () => {
  if (!window.heard || window.heard.context.state === 'closed') return [];
  const { fftSize, frequencyBinCount, context } = window.heard;
  const bins = new Float32Array(frequencyBinCount);
  window.heard.getFloatFrequencyData(bins);
  const loudest = Math.max(...bins);
  const found = [];
  for (let n = 2; n < bins.length - 2; n++) {
    const here = bins[n];
    if (here > -60 && here > loudest - 20 && here === Math.max(...bins.slice(n - 2, n + 3))) {
      found.push(Math.round((n * context.sampleRate) / fftSize));
    }
  }
  return found;
};
window.power = (samples, hz, rate) => {
  let re = 0, im = 0;
  samples.forEach((sample, n) => {
    const angle = (2 * Math.PI * hz * n) / rate;
    re += sample * Math.cos(angle);
    im += sample * Math.sin(angle);
  });
  return re * re + im * im;
};
window.arrival = (hz, other) => new Promise((found) => {
  const samples = new Float32Array(window.quick.fftSize);
  const { sampleRate: rate, baseLatency, outputLatency } = window.quick.context;
  let first = 0, seen = 0; // the edge of a gap has every tone in it, for a moment
  const timer = setInterval(() => {
    window.quick.getFloatTimeDomainData(samples);
    const [wanted, rest] = [window.power(samples, hz, rate), window.power(samples, other, rate)];
    if (!(wanted > 1 && wanted > 3 * rest)) return void (seen = 0);
    if (seen++ === 0) first = (performance.timeOrigin + performance.now()) / 1000;
    if (seen === 10) {
      clearInterval(timer);
      found({ at: first, baseLatency, outputLatency });
    }
  }, 2);
});
"""


async def until_tones(page: Page, *wanted: float, tries: int = 300) -> None:
    """Waits until the page plays these tones and no other."""
    heard: list[float] = []
    for _ in range(tries):
        heard = await page.evaluate("window.tones()")
        if len(heard) == len(wanted) and all(min(abs(hz - each) for each in heard) < 15 for hz in wanted):
            return
        await page.wait_for_timeout(50)
    raise AssertionError(f"the page plays {heard}, not {wanted}")


def write_microphone(path: Path) -> None:
    """A file that Chromium's fake microphone plays again and again: a tone that comes and goes as syllables do.

    A steady one would be taken for noise, and suppressed.
    """
    tone = sine(MICROPHONE_HZ, 2 * RATE_HZ, rate_hz=RATE_HZ, dbfs=-12).astype(np.float64)
    syllables = np.sin(np.arange(tone.size) * np.pi * 2 / RATE_HZ) > -0.5
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((tone * syllables).astype("<i2").tobytes())
