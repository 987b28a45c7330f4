"""Whether one more call may be streamed: decided before anything is created in Asterisk.

An Asterisk whose RTP port range runs out does not refuse the next channel, it crashes (seen on 16.28 and 22.10,
upstream issue 1757). So the limit follows from the range, and the channels that are up count as well.
"""

from __future__ import annotations

import asyncio
import enum

from connector.asterisk.pbx_facts import RtpRange

SHARE_OF_RANGE = 0.25
"""A bot call holds two RTP channels, the caller's and ours. At a quarter of the range for ours, bot calls fill
at most half of it, and the other half is left for the PBX's own calls."""

RESERVE_OF_RANGE = 0.1
"""Of the range that must stay free whatever the PBX's own calls do: channels come up while we decide."""


class Refusal(enum.StrEnum):
    """Why a call was not streamed. A closed set: it is a metric label."""

    UNKNOWN_PROFILE = "unknown_profile"
    NOT_MATCHED = "not_matched"
    """The call is none of its profile's, or, where it names none, of any."""
    NODE_FULL = "node_full"
    PBX_FULL = "pbx_full"
    RTP_PORTS_LOW = "rtp_ports_low"
    RTP_RANGE_UNKNOWN = "rtp_range_unknown"
    WORKER_DOWN = "worker_down"
    WORKER_FULL = "worker_full"
    DRAINING = "draining"


def stream_limit(rtp: RtpRange, configured: int) -> int:
    """How many streams one PBX may have at once.

    Args:
        rtp: The PBX's port range.
        configured: `pbx.NAME.max_streams`; 0 for as many as the range allows. A larger figure than that is not obeyed.
    """
    by_range = int(rtp.channels * SHARE_OF_RANGE)
    return min(configured, by_range) if configured else by_range


class Admission:
    """Counts the streams of one node over all PBXs."""

    def __init__(self, *, node_limit: int) -> None:
        self.node_limit = node_limit
        self.draining = False
        self.idle = asyncio.Event()
        """Set while no stream holds a place."""
        self.idle.set()
        self._streams: dict[str, int] = {}

    def active(self, pbx: str) -> int:
        """Streams of one PBX that were admitted and not yet released."""
        return self._streams.get(pbx, 0)

    def admit(
        self, pbx: str, *, rtp: RtpRange | None, configured: int, rtp_channels_up: int, streams: int = 1
    ) -> Refusal | None:
        """Takes places, or says why there are none.

        Args:
            pbx: Name of the PBX.
            rtp: Its port range; None while it is not known, and nothing is admitted then.
            configured: `pbx.NAME.max_streams`.
            rtp_channels_up: Channels up on that PBX that hold RTP ports, as the live state knows.
            streams: How many are wanted; all or none.
        """
        if self.draining:
            return Refusal.DRAINING
        if sum(self._streams.values()) + streams > self.node_limit:
            return Refusal.NODE_FULL
        if rtp is None:
            return Refusal.RTP_RANGE_UNKNOWN
        if self.active(pbx) + streams > stream_limit(rtp, configured):
            return Refusal.PBX_FULL
        if rtp_channels_up + streams > rtp.channels * (1 - RESERVE_OF_RANGE):
            return Refusal.RTP_PORTS_LOW
        self._streams[pbx] = self.active(pbx) + streams
        self.idle.clear()
        return None

    def release(self, pbx: str, streams: int = 1) -> None:
        """Gives places back; exactly once for each that was taken."""
        active = self.active(pbx)
        if active < streams:
            raise ValueError(f"release without admit on {pbx}")
        self._streams[pbx] = active - streams
        if not any(self._streams.values()):
            self.idle.set()
