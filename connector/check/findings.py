"""What a check found: one sentence that names the cause and, where something is wrong, the remedy."""

from __future__ import annotations

import enum
from dataclasses import dataclass

SAMPLE_SECRET = "change-me"
"""The placeholder in asterisk-conf/."""


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """Calls work, but not all that was asked for, or not for sure."""
    ERROR = "error"
    """Streams or the queue view will not work; exit code 1."""


class Cause(enum.StrEnum):
    """What was found, as a word that programs can rely on. A closed set; docs/check.md lists it."""

    # this machine
    HTTP_PORT = "http_port"
    MEDIA_PORT = "media_port"
    FILE_DESCRIPTORS = "file_descriptors"
    BOT = "bot"
    SAMPLE_SECRET = "sample_secret"
    DISK = "disk"
    CERTIFICATE_END = "certificate_end"
    CLOCK = "clock"
    """Ours and the PBX's differ."""
    # AMI
    AMI_HOST = "ami_host"
    AMI_REFUSED = "ami_refused"
    AMI_TIMEOUT = "ami_timeout"
    AMI_UNREACHABLE = "ami_unreachable"
    AMI_NOT_AMI = "ami_not_ami"
    AMI_TLS = "ami_tls"
    AMI_CERTIFICATE = "ami_certificate"
    AMI_LOGIN = "ami_login"
    AMI_RIGHTS_MISSING = "ami_rights_missing"
    AMI_RIGHTS_EXCESS = "ami_rights_excess"
    AMI_RIGHTS_HELP = "ami_rights_help"
    AMI_RIGHTS = "ami_rights"
    AMI_EVENTS = "ami_events"
    AMI_TIMESTAMPS = "ami_timestamps"
    AMI_FILTER = "ami_filter"
    """Events come that nobody needs."""
    AMI_CLEAR = "ami_clear"
    """The secret crosses a network without TLS."""
    AMI_WRITE_TIMEOUT = "ami_write_timeout"
    PBX_CONF = "pbx_conf"
    PBX_LIMITS = "pbx_limits"
    DIALPLAN = "dialplan"
    # ARI
    ARI_UNREACHABLE = "ari_unreachable"
    ARI_TIMEOUT = "ari_timeout"
    ARI_CERTIFICATE = "ari_certificate"
    ARI_TLS = "ari_tls"
    ARI_NOT_ARI = "ari_not_ari"
    ARI_LOGIN = "ari_login"
    ARI_CLEAR = "ari_clear"
    ARI_WRITE_TIMEOUT = "ari_write_timeout"
    ARI_ORIGINS = "ari_origins"
    HTTP_SESSIONS = "http_sessions"
    HTTP_OPEN = "http_open"
    ARI_READ_ONLY = "ari_read_only"
    ARI_EVENTS = "ari_events"
    ARI_APPLICATION = "ari_application"
    VERSION = "version"
    VERSION_QUIRK = "version_quirk"
    MODULES = "modules"
    AUDIO = "audio"
    # RTP
    RTP_RANGE = "rtp_range"
    RTP_RANGE_UNKNOWN = "rtp_range_unknown"
    RTP_PORTS_LOW = "rtp_ports_low"
    RTP_CHANNEL = "rtp_channel"
    RTP_FROM_ASTERISK = "rtp_from_asterisk"
    """Asterisk's packets do not reach us."""
    RTP_TO_ASTERISK = "rtp_to_asterisk"
    """Ours do not reach Asterisk."""
    RTP_FAMILY = "rtp_family"
    """IPv4 on one side, IPv6 on the other."""
    RTP_SOURCE = "rtp_source"
    """They come from another address or port than Asterisk says."""
    RTP_AUDIO = "rtp_audio"
    AUDIO_CALL = "audio_call"
    """The test call of `--audio`."""
    RTP_LEFT_OUT = "rtp_left_out"
    LEFT_BEHIND = "left_behind"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: How bad it is.
        subject: What it is about, by its place in the settings: `http`, `pbx.main.ami`, `profile.support`.
        cause: What was found.
        text: One sentence, for a person.
    """

    level: Level
    subject: str
    cause: Cause
    text: str

    def as_dict(self) -> dict[str, str]:
        """As JSON shows it."""
        return {"level": self.level.value, "subject": self.subject, "cause": self.cause.value, "text": self.text}

    def __str__(self) -> str:
        return f"{self.level:<8} {self.subject}: {self.text}"


class Findings(list[Finding]):
    """What was found so far, in the order in which it was looked at."""

    def ok(self, subject: str, cause: Cause, text: str) -> None:
        """As it should be."""
        self.append(Finding(Level.OK, subject, cause, text))

    def warning(self, subject: str, cause: Cause, text: str) -> None:
        """Works, but."""
        self.append(Finding(Level.WARNING, subject, cause, text))

    def error(self, subject: str, cause: Cause, text: str) -> None:
        """Does not work."""
        self.append(Finding(Level.ERROR, subject, cause, text))
