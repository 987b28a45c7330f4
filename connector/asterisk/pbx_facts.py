"""What is read of a PBX once, at connect, and does not change while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from connector.asterisk.ami import Ami

PORTS_PER_CHANNEL = 2
"""An even port for RTP; the odd one above it stays free for RTCP."""

DEFAULT_RTP_START = 5_000
DEFAULT_RTP_END = 31_000
"""What res_rtp_asterisk takes where rtp.conf says nothing (Asterisk 16 to 22, res_rtp_asterisk.c)."""


@dataclass(frozen=True, slots=True)
class RtpRange:
    """`rtpstart` and `rtpend` of rtp.conf, both inclusive."""

    start: int
    end: int

    @property
    def channels(self) -> int:
        """How many channels the range can serve."""
        return max(0, (self.end - self.start + 1) // PORTS_PER_CHANNEL)


async def read_rtp_range(ami: Ami) -> RtpRange:
    """Reads the RTP port range by the dialplan function AST_CONFIG, which needs no more than `write=reporting`.

    It is what the file says; a running Asterisk whose file was changed since its start has the older one.

    Raises:
        AmiError: Not connected, or not allowed.
        ValueError: func_config.so is not loaded, or the file holds no number.
    """
    # Without func_config every value reads as empty, which would pass for a default of 13,000 channels.
    if not await config_value(ami, "manager.conf", "general", "enabled"):
        raise ValueError("AST_CONFIG has no values: func_config.so is not loaded (is there a noload in modules.conf?)")
    start = await _rtp_setting(ami, "rtpstart", DEFAULT_RTP_START)
    end = await _rtp_setting(ami, "rtpend", DEFAULT_RTP_END)
    return RtpRange(start, end)


async def _rtp_setting(ami: Ami, key: str, default: int) -> int:
    value = await config_value(ami, "rtp.conf", "general", key)
    if not value:
        return default
    if not value.isdecimal():
        raise ValueError(f"{key} in rtp.conf is {value!r}, not a port")
    return int(value)


async def config_value(ami: Ami, file: str, section: str, key: str, index: int = -1) -> str:
    """What a configuration file of the PBX says, its includes too; empty where it says nothing.

    Args:
        ami: Of an account with `write=reporting`.
        file: As in Asterisk's configuration directory.
        section: Without brackets.
        key: The word before the equals sign.
        index: Which, where the key stands there more than once; Asterisk takes the last, -1 (16 and 22).

    Raises:
        AmiError: Not connected, or not allowed.
    """
    response = await ami.action("Getvar", Variable=f"AST_CONFIG({file},{section},{key},{index})")
    return str(response.fields.get("Value", ""))
