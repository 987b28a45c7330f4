"""AMI on the wire: bytes to messages, and what may stand in an action. Pure: no socket, no clock.

A message is lines `Key: value` that end in CR LF, closed by an empty line; before the first stands one banner line
(Asterisk 16 to 22, main/manager.c).
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.asterisk.ami_model import AmiBadValue, AmiCounter, AmiLimits

EOL = b"\r\n"
END = EOL + EOL
BANNER = "Asterisk Call Manager/"
_MAX_BANNER_BYTES = 256

MAX_LINE_BYTES = 1024
"""Longest line with its CR LF that Asterisk reads; it throws a longer one away (`inbuf` in main/manager.c)."""
MAX_HEADERS = 127
"""Asterisk ignores further lines of an action (AST_MAX_MANHEADERS is 128); one is our ActionID."""

Value = str | int | list[str]


class NotAmi(Exception):
    """The peer's first line is not the banner of an AMI."""


class Framer:
    """Cuts the byte stream of one connection into messages.

    Text is decoded only where a message is complete, so a character split over two segments stays whole. Bytes that are
    not UTF-8 become U+FFFD.

    Args:
        counters: Where faults are counted.
        limits: Bounds of a message; a longer one is skipped whole.
    """

    def __init__(self, counters: dict[AmiCounter, int], limits: AmiLimits) -> None:
        self._counters = counters
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self.banner = ""
        """The first line, once it came."""

    def feed(self, data: bytes) -> list[list[str]]:
        """Takes a segment of any size; returns the lines of each message that it completes.

        Raises:
            NotAmi: The first line is not AMI's.
        """
        buffer = self._buffer
        buffer += data
        if not self.banner and not self._take_banner():
            return []
        messages = []
        start = 0
        while (end := buffer.find(END, max(start, self._searched))) >= 0:
            lines = self._lines(bytes(buffer[start:end]))
            if lines:
                messages.append(lines)
            start = end + len(END)
            self._searched = start
        del buffer[:start]
        if self._skipping or len(buffer) > self._limits.max_message_bytes:
            self._skipping = True
            del buffer[: -(len(END) - 1)]  # what may be the beginning of END
        self._searched = max(0, len(buffer) - (len(END) - 1))
        return messages

    def _take_banner(self) -> bool:
        end = self._buffer.find(EOL)
        if end < 0 and len(self._buffer) <= _MAX_BANNER_BYTES:
            return False
        line = self._buffer[: min(end if end >= 0 else _MAX_BANNER_BYTES, _MAX_BANNER_BYTES)].decode("ascii", "replace")
        if end < 0 or not line.startswith(BANNER):
            raise NotAmi(f"the first line is {line[:60]!r} where '{BANNER}...' is expected")
        self.banner = line
        del self._buffer[: end + len(EOL)]
        self._searched = 0
        return True

    def _lines(self, raw: bytes) -> list[str]:
        if self._skipping or len(raw) > self._limits.max_message_bytes:
            self._skipping = False
            self._counters[AmiCounter.MESSAGE_TOO_LONG] += 1
            return []
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            self._counters[AmiCounter.BAD_UTF8] += 1
            text = raw.decode(errors="replace")
        lines = text.split("\r\n")
        if len(lines) > self._limits.max_lines:
            self._counters[AmiCounter.TOO_MANY_LINES] += 1
            return []
        good = [line for line in lines if ": " in line]
        if len(good) < len(lines):
            self._counters[AmiCounter.LINE_WITHOUT_COLON] += sum(map(bool, lines)) - len(good)
        return good


def check_action(name: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    """The headers of an action, once each is known to arrive as it is meant.

    Args:
        name: The action.
        fields: Its headers; a list becomes a repeated header.

    Raises:
        AmiBadValue: A name or value holds CR, LF or NUL, which would add headers or whole actions, is not text in
            UTF-8, or is longer than Asterisk reads.
    """
    headers: dict[str, Value] = {"Action": name, **fields}
    lines = 0
    for key, value in headers.items():
        _check_text(name, "name of a header", key)
        if ":" in key or key.strip() != key or not key:
            raise AmiBadValue(name, "name of a header", "is empty or holds ':' or a blank at its end")
        if key.lower() == "actionid":
            raise AmiBadValue(name, key, "is chosen by the connector, leave it out")
        for one in value if isinstance(value, list) else [str(value)]:
            size = _check_text(name, key, one)
            lines += 1
            if len(key.encode()) + len(": ") + size + len(EOL) > MAX_LINE_BYTES:
                raise AmiBadValue(name, key, f"is too long: Asterisk reads lines of {MAX_LINE_BYTES} bytes")
    if lines > MAX_HEADERS:
        raise AmiBadValue(name, "number of headers", f"is {lines}, Asterisk reads {MAX_HEADERS}")
    return headers


def _check_text(action: str, field: str, text: str) -> int:
    """Size in bytes."""
    if any(c in text for c in "\r\n\0"):
        raise AmiBadValue(action, field, "holds a carriage return, line feed or NUL")
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise AmiBadValue(action, field, "cannot be written in UTF-8") from None
