"""Monitored bots: servers that listen while a bot talks to a caller, unnoticed by the bot."""

from __future__ import annotations

import dataclasses

from connector.config_profiles import Mode
from connector.media.control import EndCause
from connector.streams.book import ProfileBook
from connector.streams.botcall import BotCall
from connector.streams.listeners import Listeners
from connector.streams.match import CallFacts, fits
from connector.streams.tapcall import TapCall


class Monitors:
    """Has every monitor profile that fits listen to the calls with bots of one PBX.

    Args:
        book: The profiles.
        listeners: Do it.
    """

    def __init__(self, book: ProfileBook, listeners: Listeners) -> None:
        self._book = book
        self._listeners = listeners
        self._taps: dict[str, list[TapCall]] = {}
        """By id of the bot's stream."""

    def begin(self, call: BotCall, facts: CallFacts) -> None:
        """A bot has a call: audio flows."""
        facts = dataclasses.replace(facts, bot=call.profile)
        parameters = {"bot": call.profile, "botStream": call.stream_id, **{k: v for k, v in call.caller.items() if v}}
        taps = [
            self._listeners.try_to_start(call.channel_id, name, parameters, at_agent=False)
            for name, profile in sorted(self._book.profiles.items())
            if profile.mode is Mode.MONITOR and fits(name, profile, facts)
        ]
        self._taps[call.stream_id] = [tap for tap in taps if tap is not None]

    def end(self, call: BotCall) -> None:
        """The bot has it no more."""
        for tap in self._taps.pop(call.stream_id, ()):
            tap.stop(EndCause.CALL_ENDED)
