"""The calls that are with bots, found by the ids that a vendor's bot was told, and what may be done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connector.config import ProfileSettings
from connector.dialects import exotel, plivo, telnyx, twilio
from connector.dialects.wire import VendorIds
from connector.streams.manager import StreamManager
from connector.streams.tapcall import TapCall
from connector.streams.voicebot import VoicebotCall

IDS: Mapping[str, Callable[[Any, str, str], VendorIds]] = {
    "twilio": twilio.vendor_ids,
    "telnyx": telnyx.vendor_ids,
    "plivo": plivo.vendor_ids,
    "exotel": exotel.vendor_ids,
}
"""How each vendor's dialect names account, call and stream."""


@dataclass(frozen=True, slots=True)
class Found:
    """A call that is with a bot of a vendor's account."""

    pbx: str
    ids: VendorIds
    bot: VoicebotCall

    @property
    def caller(self) -> str:
        """Number of the caller; empty if unknown."""
        return self.bot.call.parameters.get("from") or self.bot.call.caller.get("from", "")

    @property
    def dialled(self) -> str:
        """Number that was dialled, or the extension that the call stands at."""
        return self.bot.call.parameters.get("to") or self.bot.call.place.extension


class Desk:
    """Looks calls up. A bot reaches calls of its own account and dialect alone.

    Args:
        managers: Who has the calls, by PBX.
    """

    def __init__(self, managers: Mapping[str, StreamManager]) -> None:
        self._managers = managers

    def calls(self, vendor: str, account: str) -> Iterator[Found]:
        """Those that are with a bot of the account."""
        for pbx, manager in self._managers.items():
            for bot in list(manager.calls.values()):
                ids = _ids(vendor, bot.profile, bot.call.call_id, bot.call.stream_id)
                if ids is not None and ids.account.casefold() == account.casefold():
                    yield Found(pbx, ids, bot)

    def call(self, vendor: str, account: str, call_id: str) -> Found | None:
        """One, or None."""
        return next((found for found in self.calls(vendor, account) if found.ids.call == call_id), None)

    def taps(self, vendor: str, account: str) -> Iterator[tuple[VendorIds, TapCall]]:
        """The streams that only listen, of the account: ids of each."""
        for manager in self._managers.values():
            for tap in list(manager.taps.active.values()):
                if not isinstance(tap, TapCall) or not tap.order.profile:
                    continue
                for stream_id in tap.stream_ids:
                    ids = _ids(vendor, tap.profile, tap.call_id, stream_id)
                    if ids is not None and ids.account.casefold() == account.casefold():
                        yield ids, tap


def _ids(vendor: str, profile: ProfileSettings, call_id: str, stream_id: str) -> VendorIds | None:
    if profile.dialect.name != vendor:
        return None
    return IDS[vendor](profile.dialect, call_id, stream_id)
