"""Builds what tells others outside of what happens: traces, a broker. None of it is there unless settings want it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from prometheus_client import CollectorRegistry

from connector.bus import Bus
from connector.config import Settings
from connector.messaging.nats import NatsFeed, NatsMissing
from connector.pbx_clients import StartFailed
from connector.records import Published
from connector.telemetry.tracing import Tracing, TracingMissing, Untraced


def new_tracing(
    settings: Settings,
    registry: CollectorRegistry,
    bus: Bus[Published],
    linkedid_of: Callable[[str, str], str | None],
) -> Tracing | Untraced:
    """Traces, told by the bus.

    Raises:
        StartFailed: The extra is not installed.
    """
    if not settings.tracing.url:
        return Untraced()
    try:
        tracing = Tracing(settings.tracing, node=settings.node.name, linkedid_of=linkedid_of)
    except TracingMissing as error:
        raise StartFailed(str(error)) from None
    registry.register(tracing)
    bus.handle("tracing", tracing.on_event, Tracing.takes)
    return tracing


def new_feeds(settings: Settings, registry: CollectorRegistry, bus: Bus[Published], random: Random) -> list[NatsFeed]:
    """To brokers, told by the bus; none or one.

    Raises:
        StartFailed: The extra is not installed.
    """
    if not settings.nats.url:
        return []
    try:
        feed = NatsFeed(settings.nats, random=random)
    except NatsMissing as error:
        raise StartFailed(str(error)) from None
    registry.register(feed)
    bus.handle("nats", feed.on_event, NatsFeed.takes)
    return [feed]
