"""As much SIP (RFC 3261) and SDP (RFC 4566) as a phone on loopback needs: messages as values."""

from __future__ import annotations

from dataclasses import dataclass, field

MAGIC_COOKIE = "z9hG4bK"  # RFC 3261 section 8.1.1.7
ULAW, ALAW, TELEPHONE_EVENT = 0, 8, 101
_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}


@dataclass(slots=True)
class Message:
    """A request or a response.

    Attributes:
        start: The request line or status line.
        headers: Names and values in order of appearance.
        body: SDP, or empty.
    """

    start: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""

    @property
    def method(self) -> str:
        """Of a request; empty for a response."""
        return "" if self.start.startswith("SIP/2.0") else self.start.split(" ", 1)[0]

    @property
    def status(self) -> int:
        """Of a response; 0 for a request."""
        return int(self.start.split(" ", 2)[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def cseq(self) -> tuple[int, str]:
        """Sequence number and method."""
        number, _, method = self.get("CSeq").partition(" ")
        return int(number), method.strip()

    def get(self, name: str) -> str:
        """First header of the name, empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        """Every header of the name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def encode(self) -> bytes:
        """As sent, with its Content-Length."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        if self.body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(self.body.encode())}")
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()


def decode(datagram: bytes) -> Message | None:
    """Reads a datagram; None where it is no SIP message that a phone could answer."""
    try:
        head, _, body = datagram.decode("utf-8").partition("\r\n\r\n")
    except UnicodeDecodeError:
        return None
    start, *lines = head.split("\r\n")
    if "SIP/2.0" not in start:
        return None
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip()
            headers.append((_COMPACT.get(name.lower(), name), value.strip()))
    message = Message(start, headers, body)
    try:
        _ = message.cseq, message.status
    except (ValueError, IndexError):
        return None
    return message if message.get("Call-ID") and message.get("Via") else None


def tag(header: str) -> str:
    """The tag of a From or To header, empty if it has none."""
    _, found, rest = header.partition(";tag=")
    return rest.split(";")[0].strip() if found else ""


def uri(header: str) -> str:
    """The URI of a From, To or Contact header."""
    if "<" in header:
        return header.partition("<")[2].partition(">")[0]
    return header.split(";")[0].strip()


def quoted(name: str) -> str:
    """A display name as a quoted string with its space (RFC 3261 section 25.1), empty for none."""
    escaped = name.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}" ' if name else ""


def response(
    request: Message, status: int, reason: str, *, to_tag: str = "", contact: str = "", body: str = ""
) -> Message:
    """The response to a request (RFC 3261 section 8.2.6)."""
    to = request.get("To")
    if to_tag and not tag(to):
        to += f";tag={to_tag}"
    headers = [("Via", via) for via in request.all("Via")]
    headers += [("From", request.get("From")), ("To", to), ("Call-ID", request.get("Call-ID"))]
    headers.append(("CSeq", request.get("CSeq")))
    if contact:
        headers.append(("Contact", f"<{contact}>"))
    return Message(f"SIP/2.0 {status} {reason}", headers, body)


def sdp(host: str, port: int, version: int, direction: str = "sendrecv") -> str:
    """An offer or answer of mu-law and RFC 4733 digits.

    Args:
        host: Where we receive.
        port: UDP port of RTP there.
        version: Raised by every change (RFC 3264 section 8).
        direction: sendrecv, sendonly (hold), recvonly or inactive.
    """
    return (
        f"v=0\r\no=- 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {ULAW} {TELEPHONE_EVENT}\r\na=rtpmap:{ULAW} PCMU/8000\r\n"
        f"a=rtpmap:{TELEPHONE_EVENT} telephone-event/8000\r\na=fmtp:{TELEPHONE_EVENT} 0-16\r\n"
        f"a=ptime:20\r\na={direction}\r\n"
    )


def media_address(body: str) -> tuple[str, int] | None:
    """Where the other side of an SDP receives audio, None where it says nothing or port 0."""
    host, port = "", 0
    for line in body.splitlines():
        if line.startswith("c=IN IP4 "):
            host = line[9:].strip()
        elif line.startswith("m=audio ") and (number := line.split()[1]).isdecimal():
            port = int(number)
    return (host, port) if host and port else None


def direction(body: str) -> str:
    """The direction attribute, sendrecv where there is none."""
    found = [line[2:] for line in body.splitlines() if line[2:] in ("sendrecv", "sendonly", "recvonly", "inactive")]
    return found[0] if found else "sendrecv"
