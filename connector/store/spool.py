"""Records on disk while the database is away: append-only files of JSON lines, read back in order.

Bounded by dropping the oldest file. A crash loses at most the line being written: a line without its end is skipped
and counted. What was read is removed a file at a time, so after a crash some records come twice, which changes nothing.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from connector.records import Record
from connector.store.clean import clean_record

SEGMENTS: Final = 8
"""Files that the bound is divided into: dropping the oldest loses an eighth."""
_PATTERN: Final = "spool-*.jsonl"


class Spool:
    """A bounded queue of records on disk. Its methods block on the disk: call them in a thread.

    Args:
        directory: Its own; made when it is first needed.
        max_bytes: Bound over all files.

    Attributes:
        records: Records held. After `open`.
        bytes: Their size on disk.
        lost: Records that are gone, by cause: spool_full, spool_corrupt.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.records = 0
        self.bytes = 0
        self.lost: Counter[str] = Counter()
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = max(1, max_bytes // SEGMENTS)
        self._segments: dict[Path, tuple[int, int]] = {}
        """Records not read yet and bytes of each file, oldest first."""
        self._next = 1
        self._writing: Path | None = None
        self._offset = 0
        """Where in the oldest file the next record begins."""
        self._read = (0, 0, 0)
        """Bytes, lines and unreadable lines that `peek` has gone over."""
        self._decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
        self._encoder = msgspec.json.Encoder()
        self._lock = threading.Lock()
        """A cancelled task's thread may still be at it when the last records come."""

    def open(self) -> None:
        """Finds what a former process left.

        Raises:
            OSError: The directory cannot be read.
        """
        with self._lock:
            for path in sorted(self._directory.glob(_PATTERN)):
                data = path.read_bytes()
                lines = data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))
                self._segments[path] = (lines, len(data))
                self._next = int(path.stem.removeprefix("spool-")) + 1
            self._count()

    def append(self, records: Sequence[Record]) -> None:
        """Keeps records, on the disk when it returns. Drops the oldest file where the bound asks for it.

        Raises:
            OSError: The disk is full or gone; nothing was kept.
        """
        with self._lock:
            data = b"".join(self._encoded(record) + b"\n" for record in records)
            if not data:
                return
            if self._writing is None or self._segments[self._writing][1] + len(data) > self._segment_bytes:
                self._start_segment()
            assert self._writing is not None
            lines, size = self._segments[self._writing]
            # Unbuffered, so that nothing of a failed write comes later, at the close.
            with self._writing.open("ab", buffering=0) as file:
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    try:
                        file.truncate(size)
                    except OSError:
                        self._writing = None  # never append to a broken line
                    raise
            self._segments[self._writing] = (lines + len(records), size + len(data))
            self._count()
            while self.bytes > self._max_bytes and len(self._segments) > 1:
                oldest = next(iter(self._segments))
                self.lost["spool_full"] += self._segments[oldest][0]
                self._remove(oldest)

    def peek(self, at_most: int) -> list[Record]:
        """The oldest records, none if there are none; `advance` takes them away.

        Raises:
            OSError: The disk is gone.
        """
        with self._lock:
            while self._segments:
                oldest = next(iter(self._segments))
                with oldest.open("rb") as file:
                    file.seek(self._offset)
                    lines = list(islice(file, at_most))
                records = [record for line in lines if (record := self._decoded(line)) is not None]
                self._read = (sum(map(len, lines)), len(lines), len(lines) - len(records))
                if records:
                    return records
                self._skip()
                if not lines and oldest in self._segments:
                    self._remove(oldest)
            return []

    def advance(self) -> None:
        """Takes away what `peek` gave.

        Raises:
            OSError: The disk is gone.
        """
        with self._lock:
            self._skip()

    def _skip(self) -> None:
        if not self._segments:
            return
        oldest = next(iter(self._segments))
        size, lines, corrupt = self._read
        self._read = (0, 0, 0)
        if corrupt:
            self.lost["spool_corrupt"] += corrupt
        self._offset += size
        left, total = self._segments[oldest]
        self._segments[oldest] = (left - lines, total)
        if self._offset >= total:
            self._remove(oldest)
        self._count()

    def _encoded(self, record: Record) -> bytes:
        try:
            return self._encoder.encode(record)
        except UnicodeEncodeError:
            return self._encoder.encode(clean_record(record))

    def _decoded(self, line: bytes) -> Record | None:
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _start_segment(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"spool-{self._next:08d}.jsonl"
        path.touch(mode=0o600)
        self._next += 1
        self._segments[path] = (0, 0)
        self._writing = path

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        if path == next(iter(self._segments), None):
            self._offset = 0
            self._read = (0, 0, 0)
        del self._segments[path]
        if path == self._writing:
            self._writing = None
        self._count()

    def _count(self) -> None:
        self.records = sum(lines for lines, _ in self._segments.values())
        self.bytes = sum(size for _, size in self._segments.values())
