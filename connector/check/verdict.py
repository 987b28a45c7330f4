"""What the exchange of tones proves, and what to do where it proves that audio does not pass. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from connector.audio import g711
from connector.audio.tone import dominant_tone
from connector.check.findings import Cause, Finding, Findings, Level

TONES_HZ = (440.0, 1000.0)
"""One into each channel, so that they cannot be mistaken for each other."""
TOLERANCE_HZ = 15.0
MIN_SHARE = 0.5
"""Of the energy that has to be the tone's; a tone that passed undisturbed has over 0.99."""
ENOUGH_FRAMES = 15
"""300 ms of a tone tell it for sure."""

Source = tuple[str, int]
"""Address and port that packets came from."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was sent where and what came from where.

    Attributes:
        away: Where the first and the second tone were sent.
        heard: Mu-law frames by source while the tones were sent.
        unasked: The same, while Asterisk had to send by itself.
        advertised: Address that Asterisk was told.
        port: Port that Asterisk was told.
    """

    away: list[Source]
    heard: Mapping[Source, list[bytes]]
    unasked: Mapping[Source, list[bytes]]
    advertised: str
    port: int

    @property
    def told(self) -> str:
        """Both, as Asterisk was told."""
        return _text((self.advertised, self.port))


def compressed(host: str) -> str:
    """One spelling of an IP address (RFC 5952), so that two can be compared; anything else as it is."""
    try:
        return ipaddress.ip_address(host).compressed
    except ValueError:
        return host


def is_ipv6(host: str) -> bool | None:
    """Which kind of IP address this is; None for none."""
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return None


def ours(away: list[Source], came: Mapping[Source, list[bytes]]) -> dict[Source, list[bytes]]:
    """What came on account of the tones; a call that a connector left behind may still send to this port.

    Args:
        away: Where the tones were sent.
        came: Frames by source.
    """
    ports = {port for _, port in away}
    return {
        source: frames
        for source, frames in came.items()
        if source[1] in ports or any(_is_tone(frames, hz) for hz in TONES_HZ)
    }


def judge(subject: str, pbx: str, exchange: Exchange, findings: Findings) -> None:
    """Says what the exchange proves.

    Args:
        subject: For the finding.
        pbx: Name of the PBX, for the remedy.
        exchange: What was sent and heard.
        findings: Gets one.
    """
    heard = ours(exchange.away, exchange.heard)
    unasked = [source for source in exchange.unasked if source not in exchange.heard]
    if heard:
        level, cause, text = _of_what_was_heard(pbx, exchange, heard)
    elif unasked:
        level, cause, text = Level.ERROR, Cause.RTP_TO_ASTERISK, _way_to_asterisk(pbx, exchange, unasked[0])
    else:
        level, cause, text = (
            Level.ERROR,
            Cause.RTP_FROM_ASTERISK,
            f"Asterisk's RTP does not reach us at UDP {exchange.told}, where it was told to send: set "
            f"media.advertise_host to the address at which the PBX reaches this machine, and let UDP {exchange.port} "
            "through firewall and NAT "
            "(whether ours reaches Asterisk cannot be known before)",
        )
    findings.append(Finding(level, subject, cause, text))


def _of_what_was_heard(pbx: str, exchange: Exchange, heard: Mapping[Source, list[bytes]]) -> tuple[Level, Cause, str]:
    # What goes into one channel comes out of the other.
    expected = dict(zip(exchange.away, reversed(TONES_HZ), strict=True))
    strange = [source for source in heard if source not in expected]
    if any(source[1] in {port for _, port in expected} for source in strange):
        return (
            Level.ERROR,
            Cause.RTP_SOURCE,
            f"Asterisk's RTP comes from {strange[0][0]} and not from {exchange.away[0][0]}, so it would be refused as "
            f'a stranger\'s: set rtp_host = "{strange[0][0]}" in [pbx.{pbx}]',
        )
    if strange:
        return (
            Level.ERROR,
            Cause.RTP_SOURCE,
            f"Asterisk's RTP comes from {_text(strange[0])}, a port that is not its own: let the NAT between keep the "
            "ports, as streams are told apart by them",
        )
    wrong = [source for source, hz in expected.items() if not _is_tone(heard.get(source, []), hz)]
    if wrong:
        return (
            Level.ERROR,
            Cause.RTP_AUDIO,
            f"from {' and '.join(_text(source) for source in wrong)} came not the tone that was sent, although packets "
            "pass: look for loss on the way between, and for a translation that Asterisk's log complains of",
        )
    return (
        Level.OK,
        Cause.RTP_AUDIO,
        f"a tone sent to Asterisk's RTP at {exchange.away[0][0]} came back to UDP {exchange.told}, in both directions",
    )


def _way_to_asterisk(pbx: str, exchange: Exchange, source: Source) -> str:
    """Asterisk's packets come, ours do not arrive."""
    to = exchange.away[0][0]
    if source[0] != to:
        remedy = f'its own comes from {source[0]}, so set rtp_host = "{source[0]}" in [pbx.{pbx}]'
    else:
        low, high = sorted(port for _, port in exchange.away)
        remedy = (
            f"let UDP to the whole range of rtp.conf through its firewall (tried: {low} and {high}), or set rtp_host "
            f"in [pbx.{pbx}] to the address at which this machine reaches it"
        )
    return f"our RTP does not reach Asterisk at {to}, while its own reaches us: {remedy}"


def _is_tone(frames: list[bytes], hz: float) -> bool:
    found = dominant_tone(g711.ulaw_decode(b"".join(frames)), g711.SAMPLE_RATE_HZ)
    return len(frames) >= ENOUGH_FRAMES and abs(found.hz - hz) < TOLERANCE_HZ and found.share > MIN_SHARE


def _text(source: Source) -> str:
    return f"[{source[0]}]:{source[1]}" if ":" in source[0] else f"{source[0]}:{source[1]}"
