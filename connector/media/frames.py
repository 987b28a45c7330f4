"""The unit of the audio path: 20 ms of mu-law, 8 kHz, mono (RFC 3551 section 4.5.14)."""

from __future__ import annotations

SAMPLE_RATE_HZ = 8_000
FRAME_MS = 20
FRAME_S = FRAME_MS / 1000
SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
"""A mu-law sample is one byte, so samples, bytes and RTP timestamp units are the same number."""
FRAME_BYTES = FRAME_MS * SAMPLES_PER_MS
SILENCE_BYTE = b"\xff"
"""Mu-law for zero. 0x00 would be the loudest sample there is."""
SILENCE_FRAME = SILENCE_BYTE * FRAME_BYTES
