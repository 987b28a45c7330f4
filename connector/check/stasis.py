"""ARI: whether it is reached, lets us in, and has what a stream needs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from connector.asterisk.ari import (
    Ari,
    AriError,
    AriNotFound,
    AriNoTls,
    AriTimeout,
    AriUnauthorized,
    AriUnreachable,
    AriUntrusted,
)
from connector.asterisk.ari_models import AsteriskInfo
from connector.check.findings import SAMPLE_SECRET, Cause, Findings
from connector.check.own import is_loopback
from connector.config import AriSettings

OLDEST = (16, 6)
"""The first with externalMedia."""
NEWEST_MAJOR = 23
QUIRKS = (
    (
        (16, 6),
        (18, 0),
        "it takes up to 200 ms to answer a call and as long to bridge it, so the caller hears the bot that much later, "
        "and it has neither AudioSocket nor WebSocket for audio: 20 or newer has both",
    ),
    (
        (16, 6),
        (20, 0),
        "its project mends no faults of it any more: plan for a newer branch",
    ),
)
"""What is known of releases from the first up to, not including, the second; seen on 16.28."""
_VERSION = re.compile(r"(?:^|[^\d.])(\d+)\.(\d+)")

MODULES = (
    "chan_rtp.so",
    "res_rtp_asterisk.so",
    "res_rtp_multicast.so",
    "app_stasis.so",
    "res_stasis_answer.so",
    "res_stasis_playback.so",
    "res_stasis_recording.so",
    "res_stasis_snoop.so",
    "res_ari_channels.so",
    "res_ari_bridges.so",
    "res_ari_events.so",
    "res_ari_applications.so",
)
"""Without any of these a stream fails, on 16.28 and 22.10 alike: chan_rtp does not load without res_rtp_multicast, nor
res_ari_channels without the four of res_stasis. Without those below ARI itself does not answer."""

TIMING = "res_timing_"
"""Of these one is enough. Without, taps and music on hold are silent."""

ARI_ITSELF = "res_ari_asterisk, res_ari, res_ari_model, res_stasis, res_http_websocket, from 22 on res_websocket_client"

WANTED_MODULES = {
    "codec_ulaw.so": "callers whose phone speaks no mu-law stay mute",
    "bridge_simple.so": "calls with a bot are mixed, which adds about 20 ms to each direction",
}
"""Streams go without these, but."""


async def reach(subject: str, ari: Ari, settings: AriSettings, findings: Findings) -> AsteriskInfo | None:
    """Asks who is there.

    Returns:
        What it says of itself, None where there is no use in going on.
    """
    try:
        info = await ari.info()
    except AriError as error:
        findings.error(subject, *_what_is_wrong(error, settings))
        return None
    findings.ok(subject, Cause.ARI_LOGIN, f"user {settings.username!r} is let in")
    if settings.password.get_secret_value() == SAMPLE_SECRET:
        findings.warning(
            subject,
            Cause.SAMPLE_SECRET,
            "the password is still that of the sample, which everybody knows: set one of your own in ari.conf and in "
            "ari.password (openssl rand -hex 16)",
        )
    parts = urlsplit(settings.url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        findings.warning(
            subject,
            Cause.ARI_CLEAR,
            f"the password goes to {parts.hostname} in clear with every request: use TLS "
            "(asterisk-conf/connector-http-tls.conf and https:// in ari.url), or a network that nobody else is in",
        )
    return info


def _what_is_wrong(error: AriError, settings: AriSettings) -> tuple[Cause, str]:
    at = settings.url
    match error:
        case AriUnauthorized():
            return Cause.ARI_LOGIN, (
                f"Asterisk refused user {settings.username!r}: check ari.username and ari.password against its section "
                "of ari.conf"
            )
        case AriTimeout():
            return Cause.ARI_TIMEOUT, (
                f"{at} gave no answer ({error.message}): check host, port and firewall; if Asterisk runs there, its "
                "ARI hangs, and a restart cures that"
            )
        case AriUntrusted():
            return Cause.ARI_CERTIFICATE, (
                f"at {at} {error.message}: set ari.tls_ca_file to the CA of the PBX, and ari.url to a name that is in "
                "the certificate"
            )
        case AriNoTls():
            return Cause.ARI_TLS, (
                f"{at} does not speak TLS: set the port of ari.url to that of tlsbindaddr in http.conf (8089 by "
                "default) with tlsenable = yes there, or use http://"
            )
        case AriUnreachable():
            secure = urlsplit(at).scheme == "https"
            other = " (tlsbindaddr for https)" if secure else "; if that is the port of tlsbindaddr, use https://"
            return Cause.ARI_UNREACHABLE, (
                f"{at} cannot be reached ({error.message}): check that Asterisk runs, and enabled, bindaddr and "
                f"bindport in http.conf{other}"
            )
        case AriNotFound():
            return Cause.ARI_NOT_ARI, (
                f"a web server answers but has no ARI at {at}: check that the address ends in /ari after the prefix of "
                f"http.conf, that ari.conf has enabled = yes, and that the modules of ARI are loaded ({ARI_ITSELF})"
            )
    return Cause.ARI_NOT_ARI, f"{at} does not answer as ARI does ({error.message}): check host and port in ari.url"


def check_version(subject: str, version: str, findings: Findings) -> bool:
    """Whether this Asterisk is supported; True also where that cannot be said, as trying is harmless."""
    found = _VERSION.search(version)
    if found is None:
        findings.warning(
            subject, Cause.VERSION, f"Asterisk calls itself {version!r}, which is no release: 16.6 to 23 are supported"
        )
        return True
    number = (int(found[1]), int(found[2]))
    if number < OLDEST:
        findings.error(
            subject, Cause.VERSION, f"Asterisk is {version} and 16.6 is the oldest with ExternalMedia: upgrade it"
        )
        return False
    if number[0] > NEWEST_MAJOR:
        findings.warning(
            subject,
            Cause.VERSION,
            f"Asterisk is {version}, newer than {NEWEST_MAJOR}, the last that was tried: see whether the connector has "
            "a newer release",
        )
    else:
        findings.ok(subject, Cause.VERSION, f"Asterisk {version} is supported")
    for first, beyond, known in QUIRKS:
        if first <= number < beyond:
            findings.ok(subject, Cause.VERSION_QUIRK, f"known of Asterisk {number[0]}: {known}")
    return True


async def check_write(subject: str, ari: Ari, settings: AriSettings, findings: Findings) -> bool:
    """Whether the user may write: hangs up a channel that does not exist; 404 is yes, 403 is read-only."""
    try:
        await ari.hangup(f"{ari.app}-no-such-channel")
    except AriUnauthorized:
        findings.error(
            subject,
            Cause.ARI_READ_ONLY,
            f"user {settings.username!r} may only read: set `read_only = no` in its section of ari.conf",
        )
        return False
    except AriNotFound:
        pass
    return True


async def running_modules(ari: Ari) -> set[str]:
    """Names of the modules that are loaded and run."""
    return {module.name for module in await ari.modules() if module.status == "Running"}


def check_modules(subject: str, running: set[str], findings: Findings) -> bool:
    """Whether the modules that a stream needs are loaded and run."""
    remedy = "take noload out of modules.conf, or add a load line where it has autoload = no"
    missing = [name for name in MODULES if name not in running]
    if not any(name.startswith(TIMING) for name in running):
        missing.append("res_timing_timerfd.so")  # or another of its kind; without one nothing keeps time
    wanted = [name for name in WANTED_MODULES if name not in running]
    if missing:
        findings.error(subject, Cause.MODULES, f"not loaded or not running: {', '.join(missing)}; {remedy}")
    for name in wanted:
        findings.warning(subject, Cause.MODULES, f"{name} is not loaded, so {WANTED_MODULES[name]}: {remedy}")
    if not missing and not wanted:
        findings.ok(subject, Cause.MODULES, "the modules that a stream needs are loaded")
    return not missing


async def check_application(
    subject: str, ari: Ari, settings: AriSettings, *, running: bool, findings: Findings
) -> None:
    """Whether our application's name is in use; Asterisk forgets a name when its listener goes.

    Args:
        subject: For the findings.
        ari: Any client of this PBX.
        settings: Which name.
        running: A connector runs on this machine.
        findings: Gets one.
    """
    try:
        await ari.application(settings.app)
    except AriNotFound:
        if running:
            findings.warning(
                subject,
                Cause.ARI_APPLICATION,
                f"a connector runs here but does not listen to the application {settings.app!r}: look at its /readyz, "
                "or restart it if these settings are new",
            )
        else:
            findings.ok(subject, Cause.ARI_APPLICATION, f"the application name {settings.app!r} is free")
        return
    if running:
        findings.ok(subject, Cause.ARI_APPLICATION, f"the running connector listens to application {settings.app!r}")
    else:
        findings.warning(
            subject,
            Cause.ARI_APPLICATION,
            f"another process, not a connector at this http.port, listens to the application {settings.app!r} and "
            "would lose it to this one: end it, or set another ari.app here and in the dialplan",
        )
