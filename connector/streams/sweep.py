"""What a dead process, or a lost connection, left behind in Asterisk: found by its name.

Our channels and bridges carry our application and node in their ids. A caller who sits in our application without a
stream is handed back to the dialplan: nobody else would ever move that call on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from connector.asterisk.ari import Ari, AriError
from connector.streams.leaving import hand_back
from connector.telemetry.metrics import StreamCounters

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Ids by what is to be done with them."""

    callers: tuple[str, ...]
    channels: tuple[str, ...]
    bridges: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.callers or self.channels or self.bridges)

    def still(self, other: Leftovers) -> Leftovers:
        """Only what was left over at both looks: whatever was just being set up is not an orphan."""
        return Leftovers(
            callers=tuple(item for item in self.callers if item in other.callers),
            channels=tuple(item for item in self.channels if item in other.channels),
            bridges=tuple(item for item in self.bridges if item in other.bridges),
        )


def find_leftovers(
    *,
    in_application: Collection[str],
    channels: Collection[str],
    bridges: Collection[str],
    ours: Callable[[str], bool],
    live: Collection[str],
) -> Leftovers:
    """Compares what Asterisk holds with what we know.

    Args:
        in_application: Ids of the channels in our Stasis application.
        channels: Ids of all channels.
        bridges: Ids of all bridges.
        ours: Whether an id was chosen by this node.
        live: Ids of callers, channels and bridges of running calls.
    """
    return Leftovers(
        callers=tuple(sorted(item for item in in_application if not ours(item) and item not in live)),
        channels=tuple(sorted(item for item in channels if ours(item) and item not in live)),
        bridges=tuple(sorted(item for item in bridges if ours(item) and item not in live)),
    )


async def remove(leftovers: Leftovers, ari: Ari, *, pbx: str, counters: StreamCounters) -> None:
    """Hands callers back and removes what is ours.

    Args:
        leftovers: Found twice.
        ari: Of the PBX.
        pbx: Its name.
        counters: Counts them.
    """
    for channel_id in leftovers.callers:
        log.warning("orphan_handed_back", pbx=pbx, call_id=channel_id)
        counters.swept(pbx, "caller")
        await hand_back(ari, channel_id, "orphaned")
    for kind, ids, request in (
        ("channel", leftovers.channels, ari.hangup),
        ("bridge", leftovers.bridges, ari.delete_bridge),
    ):
        for item in ids:
            log.warning("orphan_removed", pbx=pbx, kind=kind, id=item)
            counters.swept(pbx, kind)
            try:
                await request(item, missing_ok=True)
            except AriError as error:
                log.warning("orphan_stays", pbx=pbx, kind=kind, id=item, error=str(error))
