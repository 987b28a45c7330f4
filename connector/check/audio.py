"""Which ways audio can go between this Asterisk and us, by its version and its modules."""

from __future__ import annotations

import re
from collections.abc import Mapping

from connector.audio.wire import WIRES, Transport
from connector.check.findings import Cause, Findings
from connector.config import Settings

_VERSION = re.compile(r"(?:^|[^\d.])(\d+)\.(\d+)")

TRANSPORT_MODULES = {
    Transport.RTP: ("chan_rtp.so",),
    Transport.AUDIOSOCKET: ("chan_audiosocket.so", "res_audiosocket.so"),
    Transport.WEBSOCKET: ("chan_websocket.so",),
}
CODEC_MODULES = {
    "ulaw": (),  # of which `connector.check.stasis` speaks
    "alaw": ("codec_alaw.so",),
    "g722": ("codec_g722.so", "codec_resample.so"),
    "slin": (),
    "slin16": ("codec_resample.so",),
    "slin48": ("codec_resample.so",),
}
SINCE: Mapping[str, Mapping[int, int]] = {
    "audiosocket/slin": {18: 0, 19: 0, 20: 0, 21: 0, 22: 0},
    "audiosocket/slin16": {20: 17, 21: 12, 22: 7, 23: 1},
    "audiosocket/slin48": {20: 17, 21: 12, 22: 7, 23: 1},
    "websocket": {20: 16, 21: 11, 22: 6, 23: 0},
}
"""First release by branch, as Asterisk's release notes say; what was tried is in docs/audio.md."""


def lacking(name: str, version: str, running: set[str]) -> str:
    """Why this Asterisk cannot carry audio so; empty where it can.

    Args:
        name: Transport and codec.
        version: As Asterisk tells it.
        running: Modules.
    """
    wire = WIRES[name]
    since = SINCE.get(name) or SINCE.get(wire.transport.value)
    found = _VERSION.search(version)
    if since is not None and found is not None and not _from(since, int(found[1]), int(found[2])):
        first = min(since)
        return f"needs Asterisk {first}.{since[first]} or newer of its branch, and this is {version}"
    modules = {*TRANSPORT_MODULES[wire.transport], *CODEC_MODULES[wire.codec]}
    if wire.said.encoding != wire.heard.encoding:
        modules |= {*CODEC_MODULES["g722"]}
    missing = sorted(modules - running)
    if not missing:
        return ""
    return f"needs {', '.join(missing)}: take noload out of modules.conf, or add a load line where it has autoload = no"


def check_wires(
    subject: str, pbx: str, settings: Settings, version: str, running: set[str], findings: Findings
) -> None:
    """Says which ways there are, and which of those that are set there are not."""
    reasons = {name: lacking(name, version, running) for name in WIRES}
    possible = [name for name, reason in reasons.items() if not reason]
    findings.ok(subject, Cause.AUDIO, f"audio can go by {', '.join(possible) or 'nothing'}")
    wanted = {f"pbx.{pbx}.audio": settings.pbx[pbx].audio}
    wanted |= {
        f"profile.{name}.audio": profile.audio
        for name, profile in settings.profile.items()
        if profile.audio and (not profile.match.pbxs or pbx in profile.match.pbxs)
    }
    for key, name in wanted.items():
        told = WIRES[name].transport is Transport.RTP and not running.issuperset(TRANSPORT_MODULES[Transport.RTP])
        if reasons[name] and not told:  # by connector.check.stasis: nothing goes without chan_rtp
            findings.error(subject, Cause.AUDIO, f"{key} = {name!r} {reasons[name]}")


def _from(since: Mapping[int, int], major: int, minor: int) -> bool:
    if major > max(since):
        return True
    return major in since and minor >= since[major]
