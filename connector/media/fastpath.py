"""WebSocket messages of many bots in one call: the compiled helper (fastpath.c), for what usually happens.

A `Line` is one bot's connection. It reads for it, and it writes audio for as long as it has a template. Everything that
is not audio in the form it has learned comes out as a frame, for Python. It is optional: without the library, or for
bots over TLS, picows does all that alone.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connector.dialects.base import AudioPattern, AudioTemplate, Field
from connector.media.fastpath_build import LIBRARY, source_id

MOST_AT_ONCE = 256
FIN = 0x10
"""Of the kind of a frame; the rest is its opcode."""
AUDIO, CLOSED, TOO_LONG, BROKEN = -1, -2, -3, -4
TURNS = 64
"""Calls in a row while bots have more to say: then audio has its turn."""

_REMEDY = "install a C compiler and run python -m connector.media.fastpath_build"
_SENT, _SENT_PARTLY = 1, 2
_MOST_MESSAGE = 16_384 + 14
_EVENTS = 4_096
_DATA_BYTES = 4 << 20
"""Virtual memory: only what is used is there."""
_TEXT, _BINARY = 1, 2
_EVENT = np.dtype([("line", "i4"), ("kind", "i4"), ("at", "u4"), ("size", "u4")])
_FIELD = struct.Struct("=II")
_KINDS = {Field.COUNTER_A: 1, Field.COUNTER_B: 2, Field.STAMP_MS: 3, Field.BASE64: 4, Field.BYTES: 5}

_int, _size, _at = ctypes.c_int32, ctypes.c_uint32, ctypes.c_void_p
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "fastpath_source": (ctypes.c_char_p, ()),
    "fastpath_new": (_at, ()),
    "fastpath_free": (None, (_at,)),
    "fastpath_open": (_int, (_at, _int, _int, _size, ctypes.c_char_p, _size)),
    "fastpath_close": (None, (_at, _int)),
    "fastpath_template": (
        _size,
        (_at, _int, _int, ctypes.c_char_p, _size, ctypes.c_uint64, ctypes.c_uint64),
    ),
    "fastpath_pattern": (
        None,
        (_at, _int, _int, _int, ctypes.c_char_p, _size, ctypes.c_char_p, _size, _size, _size),
    ),
    "fastpath_send": (None, (_at, _int, _at, _at, ctypes.c_char_p, _at, _at, _at, _at)),
    "fastpath_receive": (_size, (_at, _at, _size, _at, _size, _at)),
}


class FastPathMissing(Exception):
    """The library is not there, or is built from another source; the message says which and what to do."""


class LineOwner(Protocol):
    """What a line gives to."""

    def on_audio(self, audio: bytes) -> None:
        """A message of audio, in the form that was learned."""
        ...

    def on_frame(self, opcode: int, fin: bool, payload: bytes) -> None:
        """Any other frame (RFC 6455 section 5.2)."""
        ...

    def on_rest(self, rest: bytes) -> None:
        """The end of a frame whose beginning the system took: to be sent before anything else."""
        ...

    def on_lost(self, kind: int, error: int) -> None:
        """Nothing comes any more: CLOSED with an errno or 0, TOO_LONG or BROKEN."""
        ...


class FastPath:
    """All lines of a worker.

    Raises:
        FastPathMissing: There is no library.
    """

    def __init__(self) -> None:
        self._library = load()
        self._at: int | None = self._library.fastpath_new()
        if self._at is None:
            raise FastPathMissing("out of memory or of file descriptors")
        self._owners: list[LineOwner | None] = []
        self._free: list[int] = []
        self._results: NDArray[np.uint8] = np.zeros(MOST_AT_ONCE, np.uint8)
        self._rests: NDArray[np.uint8] = np.zeros(MOST_AT_ONCE * _MOST_MESSAGE, np.uint8)
        self._rest_sizes: NDArray[np.uint32] = np.zeros(MOST_AT_ONCE, np.uint32)
        self._events = np.zeros(_EVENTS, _EVENT)
        self._data: NDArray[np.uint8] = np.zeros(_DATA_BYTES, np.uint8)
        self._bytes = memoryview(self._data)  # type: ignore[arg-type]
        self._more: NDArray[np.int32] = np.zeros(1, np.int32)
        self._out = self._results.ctypes.data, self._rests.ctypes.data, self._rest_sizes.ctypes.data
        self._in = self._events.ctypes.data, _EVENTS, self._data.ctypes.data, _DATA_BYTES, self._more.ctypes.data

    def open(self, fd: int, owner: LineOwner, *, max_bytes: int, begun: bytes = b"") -> Line:
        """Takes over the reading of a connection.

        Args:
            fd: The socket; it is duplicated.
            owner: Gets what comes.
            max_bytes: A longer frame ends the line; at most two megabytes.
            begun: What was read from it already.

        Raises:
            OSError: There are no file descriptors left.
        """
        if not self._free:
            self._free.append(len(self._owners))
            self._owners.append(None)
        number = self._free[-1]
        error = self._library.fastpath_open(self._at, number, fd, min(max_bytes, _DATA_BYTES // 2), begun, len(begun))
        if error:
            raise OSError(error, os.strerror(error))
        self._free.pop()
        self._owners[number] = owner
        return Line(self, number)

    def close(self) -> None:
        """Lets go of all lines."""
        if self._at is not None:
            self._library.fastpath_free(self._at)
            self._at = None

    def send(self, lines: NDArray[np.int32], stamps_ms: NDArray[np.int64], payloads: Sequence[bytes]) -> list[int]:
        """A frame of audio to each of these lines.

        Args:
            lines: Numbers of lines, at most MOST_AT_ONCE; -1 for none.
            stamps_ms: Media time of each frame.
            payloads: Each in the format of its bot.

        Returns:
            The places of those that were not sent: they have no template, or there is no room.
        """
        sizes = np.fromiter(map(len, payloads), np.uint32, len(payloads))
        self._library.fastpath_send(
            self._at,
            len(payloads),
            lines.ctypes.data,
            stamps_ms.ctypes.data,
            b"".join(payloads),
            sizes.ctypes.data,
            *self._out,
        )
        results = self._results[: len(payloads)]
        if results.all() and not (results == _SENT_PARTLY).any():
            return []
        at = 0
        for place in np.flatnonzero(results == _SENT_PARTLY).tolist():
            size = int(self._rest_sizes[place])
            owner = self._owners[int(lines[place])]
            if owner is not None:
                owner.on_rest(self._rests[at : at + size].tobytes())
            at += size
        return np.flatnonzero(results == 0).tolist()

    def receive(self) -> None:
        """Gives what the bots have sent to the owners of their lines."""
        for _ in range(TURNS):
            count = self._library.fastpath_receive(self._at, *self._in)
            more = bool(self._more[0])
            if count:
                owners, data = self._owners, self._bytes
                for number, kind, at, size in self._events[:count].tolist():
                    owner = owners[number]
                    if owner is None:  # closed by what came before in this same batch
                        continue
                    if kind == AUDIO:
                        owner.on_audio(bytes(data[at : at + size]))
                    elif kind >= 0:
                        owner.on_frame(kind & 0x0F, bool(kind & FIN), bytes(data[at : at + size]))
                    else:
                        owner.on_lost(kind, size)
            if not more:
                return

    def _close(self, number: int) -> None:
        if self._at is not None and self._owners[number] is not None:
            self._library.fastpath_close(self._at, number)
            self._owners[number] = None
            self._free.append(number)

    def _template(self, number: int, template: AudioTemplate, program: bytes) -> None:
        opcode = _BINARY if template.binary else _TEXT
        self._library.fastpath_template(self._at, number, opcode, program, len(program), *template.counters)

    def _no_template(self, number: int) -> int:
        return int(self._library.fastpath_template(self._at, number, 0, None, 0, 0, 0))

    def _pattern(self, number: int, pattern: AudioPattern | None, max_bytes: int) -> None:
        if pattern is None:
            self._library.fastpath_pattern(self._at, number, 0, 0, b"", 0, b"", 0, 0, 1)
            return
        self._library.fastpath_pattern(
            self._at,
            number,
            _BINARY if pattern.binary else _TEXT,
            pattern.base64,
            pattern.head,
            len(pattern.head),
            pattern.tail,
            len(pattern.tail),
            max_bytes,
            pattern.unit_bytes,
        )


class Line:
    """One bot's connection.

    Attributes:
        number: For `FastPath.send`.
        writes: Whether it has a template.
    """

    def __init__(self, path: FastPath, number: int) -> None:
        self.number = number
        self.writes = False
        self._path = path
        self._pieces: tuple[bytes | Field, ...] | None = None
        self._program = b""
        self._open = True

    def write(self, template: AudioTemplate) -> None:
        """Writes audio messages like this from now on."""
        if self._open:
            if template.pieces is not self._pieces:
                self._pieces, self._program = template.pieces, _program(template)
            self._path._template(self.number, template, self._program)
            self.writes = True

    def stop_writing(self) -> int:
        """Writes no more; gives how many messages were written since `write`."""
        if not (self._open and self.writes):
            return 0
        self.writes = False
        return self._path._no_template(self.number)

    def read(self, pattern: AudioPattern | None, max_bytes: int) -> None:
        """Takes messages of this form, not longer than so many bytes, as audio from now on."""
        if self._open:
            self._path._pattern(self.number, pattern, max_bytes)

    def close(self) -> None:
        """Lets go of the connection."""
        if self._open:
            self._open = self.writes = False
            self._path._close(self.number)


def _program(template: AudioTemplate) -> bytes:
    parts = []
    for piece in template.pieces:
        if isinstance(piece, Field):
            parts.append(_FIELD.pack(_KINDS[piece], 0))
        else:
            parts.append(_FIELD.pack(0, len(piece)) + piece)
    return b"".join(parts)


def load() -> ctypes.CDLL:
    """The library.

    Raises:
        FastPathMissing: It is not there, or is built from another source.
    """
    try:
        library = ctypes.CDLL(str(LIBRARY))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        built_from = library.fastpath_source().decode()
    except (OSError, AttributeError) as error:
        raise FastPathMissing(
            f"{error}: install a C compiler and run python -m connector.media.fastpath_build"
        ) from None
    if built_from != source_id():
        raise FastPathMissing("it is built from another source: run python -m connector.media.fastpath_build")
    return library
