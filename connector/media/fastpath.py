"""WebSocket messages of many bots in one call: the compiled helper (native/lines.c), for what usually happens.

A `Line` is one bot's connection. It reads for it, and it writes audio for as long as it has a template. Everything that
is not audio in the form it has learned comes out as a frame, for Python. It is optional: without the library, or for
bots over TLS, picows does all that alone.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connector.dialects.base import AudioPattern, AudioTemplate, Field
from connector.media.fastpath_build import LIBRARY, source_id

MOST_AT_ONCE = 256
FIN = 0x10
"""Of the kind of a frame; the rest is its opcode."""
AUDIO, CLOSED, TOO_LONG, BROKEN, UNSENT, REST, HEARD, SAID = range(-1, -9, -1)
"""Kinds of events, as in native/fastpath.h."""
TURNS = 64
"""Calls in a row while bots have more to say: then audio has its turn."""

_REMEDY = "install a C compiler and run python -m connector.media.fastpath_build"
_SENT, _SENT_PARTLY = 1, 2
_MOST_MESSAGE = 16_384 + 14
_EVENTS = 4_096
_DATA_BYTES = 4 << 20
"""Virtual memory: only what is used is there."""
_TEXT, _BINARY = 1, 2
_SLOT = 0xFFFF
"""Of a line's number; what is above counts how often the slot was used, so that a number never names two lines."""
_EVENT = np.dtype([("who", "i4"), ("kind", "i4"), ("at", "u4"), ("size", "u4"), ("stamp_ms", "i8")])
_ERRORS = frozenset((CLOSED, TOO_LONG, BROKEN))
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
    "fastpath_lend": (_int, (_at, _int, _at, ctypes.c_char_p)),
    "fastpath_playout": (None, (_at, _int, _at)),
    "fastpath_take_back": (None, (_at, _int, _at, _at)),
    "rows_columns": (_int, (_at, _at, _int, _int)),
    "rows_lane": (_int, (_at, _int, _at)),
    "rows_open": (None, (_at, _int)),
    "rows_close": (None, (_at, _int)),
    "rows_hear": (_int, (_at, _int, _at, ctypes.c_double, _at, _at, _at, _at, _size, _at, _size, _at)),
    "rows_say": (_int, (_at, _int, ctypes.c_int64, ctypes.c_double, _at, _at, _at, _size, _at, _size, _at)),
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


class Loan(Protocol):
    """What a line holds for somebody."""

    def take_back(self) -> None:
        """The line closes."""
        ...


class FastPath:
    """All lines of a worker.

    Attributes:
        library: The compiled helper.
        at: Its state; None once closed.
        events_out: Where it tells what happened, as the last arguments of its functions.

    Raises:
        FastPathMissing: There is no library.
    """

    def __init__(self) -> None:
        self.library = load()
        self.at: int | None = self.library.fastpath_new()
        if self.at is None:
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
        self.events_out = self._events.ctypes.data, _EVENTS, self._data.ctypes.data, _DATA_BYTES, self._more.ctypes.data

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
        error = self.library.fastpath_open(self.at, number, fd, min(max_bytes, _DATA_BYTES // 2), begun, len(begun))
        if error:
            raise OSError(error, os.strerror(error))
        self._free.pop()
        self._owners[number & _SLOT] = owner
        return Line(self, number)

    def close(self) -> None:
        """Lets go of all lines."""
        if self.at is not None:
            self.library.fastpath_free(self.at)
            self.at = None

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
        self.library.fastpath_send(
            self.at,
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
            owner = self._owners[int(lines[place]) & _SLOT]
            if owner is not None:
                owner.on_rest(self._rests[at : at + size].tobytes())
            at += size
        return np.flatnonzero(results == 0).tolist()

    def receive(self) -> None:
        """Gives what the bots have sent to the owners of their lines."""
        for _ in range(TURNS):
            count = self.library.fastpath_receive(self.at, *self.events_out)
            more = bool(self._more[0])
            for number, kind, payload, _ in self.told(count):
                self.give(number, kind, payload)
            if not more:
                return

    def told(self, count: int) -> Iterator[tuple[int, int, bytes, int]]:
        """So many events of the last call: whose, kind, payload, media time in ms. An error is a payload of 4 bytes."""
        if count:
            data = self._bytes
            for who, kind, at, size, stamp_ms in self._events[:count].tolist():
                yield who, kind, bytes(data[at : at + size]) if kind not in _ERRORS else size.to_bytes(4), stamp_ms

    def give(self, number: int, kind: int, payload: bytes) -> None:
        """An event to the owner of the line, if it is not closed by what came before in the same batch."""
        owner = self._owners[number & _SLOT]
        if owner is None:
            return
        if kind == AUDIO:
            owner.on_audio(payload)
        elif kind >= 0:
            owner.on_frame(kind & 0x0F, bool(kind & FIN), payload)
        elif kind == REST:
            owner.on_rest(payload)
        else:
            owner.on_lost(kind, int.from_bytes(payload))

    def _close(self, number: int) -> None:
        slot = number & _SLOT
        if self.at is not None and self._owners[slot] is not None:
            self.library.fastpath_close(self.at, number)
            self._owners[slot] = None
            self._free.append((number + _SLOT + 1) & 0x7FFFFFFF)

    def _template(self, number: int, template: AudioTemplate, program: bytes) -> None:
        opcode = _BINARY if template.binary else _TEXT
        self.library.fastpath_template(self.at, number, opcode, program, len(program), *template.counters)

    def _no_template(self, number: int) -> int:
        return int(self.library.fastpath_template(self.at, number, 0, None, 0, 0, 0))

    def _pattern(self, number: int, pattern: AudioPattern | None, max_bytes: int) -> None:
        if pattern is None:
            self.library.fastpath_pattern(self.at, number, 0, 0, b"", 0, b"", 0, 0, 1)
            return
        self.library.fastpath_pattern(
            self.at,
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
        self._loan: Loan | None = None

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

    def hold(self, state: bytes, queued: bytes, loan: Loan) -> bool:
        """Holds a playout, until `give_back`; False when it cannot. The state is `fastplayout.STATE`."""
        held = self._open and bool(self._path.library.fastpath_lend(self._path.at, self.number, state, queued))
        if held:
            self._loan = loan
        return held

    def look(self, state: bytearray) -> None:
        """How the playout that is held stands."""
        self._path.library.fastpath_playout(self._path.at, self.number, _address(state))

    def give_back(self, state: bytearray, queued: bytearray) -> None:
        """Holds the playout no more; `queued` has room for what waits, as `look` told."""
        self._loan = None
        self._path.library.fastpath_take_back(self._path.at, self.number, _address(state), _address(queued))

    def close(self) -> None:
        """Lets go of the connection."""
        if self._loan is not None:
            self._loan.take_back()
        if self._open:
            self._open = self.writes = False
            self._path._close(self.number)


def _address(room: bytearray) -> int:
    """Where it is, for as long as its length stays."""
    return ctypes.addressof(ctypes.c_char.from_buffer(room)) if room else 0


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
