"""From any audio format to any other, for many streams at once.

What has no state is done for all streams of a call by tables; what has one (G.722, Opus, the resampler) keeps it in
the stream's row. From mu-law to linear at the same rate costs a table look-up, from a format to itself nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.g711 import ALAW_SILENCE, ULAW_SILENCE, alaw_decode, alaw_encode, ulaw_decode, ulaw_encode
from connector.audio.g722 import G722Codec
from connector.audio.opus import DECODED_HZ, OpusCodec
from connector.audio.resample import Resampler, Samples, delay_ms

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """A conversion that is no more than tables and a resampler, so that a compiled helper can do it as well.

    Attributes:
        to_linear: Samples by code; None where the source is linear, little-endian.
        from_linear: Codes by the 16 bits of a sample; None where the target is linear, little-endian.
        resampler: None at the same rate.
        source_bytes: Of a frame of 20 ms.
        target_bytes: Likewise.
        silence: A frame of it at the source.
    """

    to_linear: NDArray[np.int16] | None
    from_linear: NDArray[np.uint8] | None
    resampler: Resampler | None
    source_bytes: int
    target_bytes: int
    silence: bytes


_ONE: Rows = np.zeros(1, np.int64)


class Transcoder:
    """Turns frames of many streams, each a row, from one format into another.

    Args:
        source: What comes in.
        target: What goes out.
        capacity: Rows.

    Attributes:
        identity: The formats are the same but for the length of a frame: what comes in goes out.
        delay_ms: How much later sound comes out, by the resampler. G.722 and Opus add their own: `docs/audio.md`.

    Raises:
        ValueError: A rate that cannot be resampled.
        OpusMissing: Opus is wanted, and its library is not installed.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat, *, capacity: int = 1) -> None:
        self.identity = (source.encoding, source.rate_hz) == (target.encoding, target.rate_hz)
        self._decode = _codec(source)
        self._encode = _codec(target)
        decoded_hz = DECODED_HZ if source.encoding is Encoding.OPUS else source.rate_hz
        self.delay_ms = delay_ms(decoded_hz, target.rate_hz)
        self._resampler = None
        if decoded_hz != target.rate_hz:
            self._resampler = Resampler(decoded_hz, target.rate_hz, capacity=capacity)
        self._silence = np.zeros(decoded_hz * source.frame_ms // 1000, np.int16)
        self._frame_of_silence = silence(target)
        self._formats = source, target

    @property
    def plan(self) -> Plan | None:
        """How to do the same by tables; None where a codec has a state, or a frame is not of 20 ms."""
        source, target = self._formats
        if not {source.encoding, target.encoding} <= _TABLES.keys() or (source.frame_ms, target.frame_ms) != (20, 20):
            return None
        encode = _TABLES[target.encoding]
        return Plan(
            None if self.identity else codes(source.encoding),
            None if self.identity or encode is None else encode[1](np.arange(65_536).astype(np.uint16).view(np.int16)),
            self._resampler,
            source.frame_bytes,
            target.frame_bytes,
            silence(source),
        )

    def grow(self, capacity: int) -> None:
        """Makes room for more rows; those there are stay."""
        if self._resampler is not None:
            self._resampler.grow(capacity)

    def reset(self, row: int) -> None:
        """The row belongs to another stream now."""
        self._decode.forget(row)
        self._encode.forget(row)
        if self._resampler is not None:
            self._resampler.reset(row)

    def convert(self, payloads: Sequence[bytes], rows: Rows) -> list[bytes]:
        """The next piece of each of these rows.

        Args:
            payloads: One for each row, all of the same length, whole milliseconds of it. An empty one is a frame of
                silence: what a decoder with a state would make of a constant is none. Opus: one packet each.
            rows: Shape (n,), each row once.

        Raises:
            ValueError: A payload is not of the source's format.
        """
        if self.identity:
            return [payload or self._frame_of_silence for payload in payloads]
        samples = self._decode.decode(payloads, rows, self._silence)
        if self._resampler is not None:
            samples = self._resampler.convert(samples, rows)
        return self._encode.encode(samples, rows)

    def convert_one(self, payload: bytes, row: int = 0) -> bytes:
        """The next piece of one row."""
        return self.convert((payload,), _ONE if row == 0 else np.array((row,)))[0]


def codes(encoding: Encoding) -> NDArray[np.int16] | None:
    """The samples of all 256 codes; None where they are no codes of a byte each."""
    tables = _TABLES.get(encoding)
    return None if tables is None else tables[0](bytes(range(256)))


def silence(audio: AudioFormat) -> bytes:
    """A frame of silence, for formats without a state; empty for the others."""
    match audio.encoding:
        case Encoding.PCMU:
            return bytes((ULAW_SILENCE,)) * audio.frame_bytes
        case Encoding.PCMA:
            return bytes((ALAW_SILENCE,)) * audio.frame_bytes
        case Encoding.L16 | Encoding.L16BE:
            return bytes(audio.frame_bytes)
        case _:
            return b""


_TABLES = {
    Encoding.PCMU: (ulaw_decode, ulaw_encode),
    Encoding.PCMA: (alaw_decode, alaw_encode),
    Encoding.L16: None,
}


class _Codec(Protocol):
    def decode(self, payloads: Sequence[bytes], rows: Rows, silence: Samples) -> Samples: ...

    def encode(self, samples: Samples, rows: Rows) -> list[bytes]: ...

    def forget(self, row: int) -> None: ...


class _Stateless:
    """A codec that is a table, or less: all rows in one go."""

    def __init__(
        self, to_linear: Callable[[bytes], Samples], from_linear: Callable[[Samples], bytes], silence: bytes
    ) -> None:
        self._to_linear = to_linear
        self._from_linear = from_linear
        self._silence = silence

    def decode(self, payloads: Sequence[bytes], rows: Rows, silence: Samples) -> Samples:
        joined = b"".join([payload or self._silence for payload in payloads])
        return self._to_linear(joined).reshape(len(payloads), -1)

    def encode(self, samples: Samples, rows: Rows) -> list[bytes]:
        joined = self._from_linear(samples)
        size = len(joined) // len(samples)
        return [joined[at : at + size] for at in range(0, len(joined), size)]

    def forget(self, row: int) -> None:
        pass


class _OneCodec(Protocol):
    def decode(self, payload: bytes, /) -> Samples: ...

    def encode(self, samples: Samples, /) -> bytes: ...


class _Stateful:
    """A codec with a state for each stream."""

    def __init__(self, make: Callable[[], _OneCodec]) -> None:
        make()  # what is missing is missed now, and not in the middle of a call
        self._make = make
        self._codecs: dict[int, _OneCodec] = {}

    def decode(self, payloads: Sequence[bytes], rows: Rows, silence: Samples) -> Samples:
        return np.stack(
            [
                self._of(row).decode(payload) if payload else silence
                for payload, row in zip(payloads, rows.tolist(), strict=True)
            ]
        )

    def encode(self, samples: Samples, rows: Rows) -> list[bytes]:
        return [self._of(row).encode(wave) for wave, row in zip(samples, rows.tolist(), strict=True)]

    def forget(self, row: int) -> None:
        self._codecs.pop(row, None)

    def _of(self, row: int) -> _OneCodec:
        codec = self._codecs.get(row)
        if codec is None:
            codec = self._codecs[row] = self._make()
        return codec


def _codec(audio: AudioFormat) -> _Codec:
    match audio.encoding:
        case Encoding.PCMU:
            return _Stateless(ulaw_decode, lambda samples: ulaw_encode(samples).tobytes(), silence(audio))
        case Encoding.PCMA:
            return _Stateless(alaw_decode, lambda samples: alaw_encode(samples).tobytes(), silence(audio))
        case Encoding.L16:
            return _linear("<i2", silence(audio))
        case Encoding.L16BE:
            return _linear(">i2", silence(audio))
        case Encoding.G722:
            return _Stateful(G722Codec)
        case Encoding.OPUS:
            return _Stateful(lambda: OpusCodec(audio.rate_hz, audio.frame_ms))


def _linear(order: str, silence: bytes) -> _Stateless:
    return _Stateless(
        lambda payload: np.frombuffer(payload, order).astype(np.int16, copy=False),
        lambda samples: samples.astype(order, copy=False).tobytes(),
        silence,
    )
