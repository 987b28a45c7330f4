"""What reaches out to bots and their servers: the dialler, documents that are fetched, and who is told of streams."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from random import Random

from connector.bus import Bus
from connector.config import Settings
from connector.media.control import OpenStream
from connector.media.engine import MediaEngine
from connector.net.credentials import Secrets
from connector.net.fetch import Fetcher
from connector.records import Published
from connector.streams.book import ProfileBook
from connector.streams.dialling import Dialler
from connector.streams.status import StatusCallbacks
from connector.telemetry.metrics import StreamCounters
from connector.telemetry.vendors import VendorCounters


class BotSide:
    """One of each, for all PBXs.

    Attributes:
        secrets: Finds what profiles name.
        fetcher: Makes HTTP requests.
        dialler: Dials bots.
        statuses: Tells of streams; its `run` is to be owned.
        counters: Of what vendors' bots ask, and are told.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        book: ProfileBook,
        media: MediaEngine,
        bus: Bus[Published],
        counters: StreamCounters,
        vendor_counters: VendorCounters,
        clock: Callable[[], float],
        random: Random,
        join: Callable[[OpenStream], Mapping[str, str]],
    ) -> None:
        self.secrets = Secrets(os.environ, settings.outgoing.secrets_directory)
        self.fetcher = Fetcher(max_answer_bytes=settings.outgoing.max_answer_bytes)
        self.counters = vendor_counters
        self.dialler = Dialler(
            engine=media,
            outgoing=settings.outgoing,
            secrets=self.secrets,
            fetcher=self.fetcher,
            clock=clock,
            monotonic=time.monotonic,
            random=random,
            count=counters.dialled,
            join=join,
        )
        self.statuses = StatusCallbacks(
            book,
            reach=self.dialler.reach,
            fetcher=self.fetcher,
            secrets=self.secrets,
            timeout_s=settings.outgoing.timeout_ms / 1000,
            count=vendor_counters.told,
            clock=clock,
            random=random,
        )
        bus.handle("status-callbacks", self.statuses.on_event, StatusCallbacks.takes)
