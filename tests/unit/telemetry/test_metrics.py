"""The metrics are a public interface: their names stand still, and their labels stay few and tell nothing of a caller.

Run as a program it writes the table of docs/metrics.md anew.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from connector.app import Connector
from connector.asterisk.pbx_facts import RtpRange
from connector.asterisk.replay import events, messages
from connector.asterisk.translate import Malformed
from connector.config import Settings
from connector.events import CallOutcome, LinkState, Outcome
from connector.media.control import EndCause
from connector.web.hooks.sender import Verdict

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "metrics.md"
FIXTURES = ROOT / "tests" / "fixtures" / "ami"
RECORDINGS = ["22-shift", "16-shift", "22-exits", "16-exits"]
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"

PERSONAL = re.compile(r"(Dest|Transferer|Transferee|Orig|Second|Bridge)?(Channel|Uniqueid|Linkedid|UniqueID)")
"""Headers whose value names a call or channel."""
WHO = re.compile(r"(Dest)?(CallerID|ConnectedLine)(Num|Name)")
"""Headers whose value names a person."""
NOBODY = {"", "unknown", "<unknown>"}

SETTINGS = {
    "pbx": {"main": {"ami": {"secret": "not used"}, "ari": {"password": "not used"}}},
    "profile": {"echo": {"url": "ws://127.0.0.1:1/"}},
    "nats": {"url": "nats://127.0.0.1:1"},
    "tracing": {"url": "http://127.0.0.1:1/v1/traces"},
    "webhook": {"desk": {"url": "https://desk.example/hook", "secret": "x" * 32}},
}


def filled(recordings: Iterable[str] = RECORDINGS, *, agents: bool = False) -> CollectorRegistry:
    """The registry of a connector that has seen a bit of everything; the recordings stand in for its PBX."""
    connector = Connector(Settings.model_validate({**SETTINGS, "metrics": {"agents": agents}}))
    link = connector._links["main"]
    for name in ("ami", "ari"):
        link._changed(name, LinkState.UP, "recorded")
    for recording in recordings:
        for event in events((FIXTURES / f"{recording}.bin").read_bytes(), "main"):
            assert not isinstance(event, Malformed)
            link._apply(event)
            link.last_event_at = event.at
    now = time.time()  # the recordings are of another day
    connector._bus.publish(
        CallOutcome(
            pbx="main",
            at=now,
            queue="support",
            uniqueid="1",
            outcome=Outcome.ANSWERED,
            wait_s=1.0,
            agent="PJSIP/agent1",
        )
    )
    link.malformed["missing"] += 1
    link.resyncs["connected"] += 1
    link.state.drift.setdefault("caller_ghost", 0)
    link.rtp_range = RtpRange(10_000, 10_099)
    link.ami.certificate_expires_at = 2e9
    counters = connector._counters
    counters.stepped("main", "decide", "passthru_200")
    counters.refused("main", "echo", "full")
    counters.ended("main", "echo", "twilio", "voicebot", EndCause.CALLER_HUNG_UP, 0.1)
    counters.dialled("bot", "opened")
    counters.swept("main", "bridge")
    counters.fault("main", "echo", "no_rtp")
    counters.heard("main", "echo", mos=4.2, jitter_s=0.001, loss=0.0)
    counters.loud("main", "echo", "caller", -20.0)
    connector._bots.counters.asked("twilio", "ok")
    connector._bots.counters.told("delivered")
    writer = connector.store.writer.stats
    writer.written["calls"] += 1
    writer.dropped["spool_full"] += 1
    writer.pruned["calls"] += 1
    connector._hooks.stats["desk"].attempts[Verdict.DELIVERED] += 1
    return connector._registry


def ours(registry: CollectorRegistry) -> list[Metric]:
    """The families of the product; those of the process and of Python are their library's."""
    return sorted((f for f in registry.collect() if f.name.startswith("connector_")), key=lambda f: f.name)


def exposed_name(family: Metric) -> str:
    """The name that a query uses."""
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def table(families: Iterable[Metric]) -> str:
    """The table of docs/metrics.md."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in families:
        labels = list(dict.fromkeys(name for sample in family.samples for name in sample.labels if name != "le"))
        names = ", ".join(f"`{name}`" for name in labels)
        lines.append(f"| `{exposed_name(family)}` | {family.type} | {names} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def documented() -> str:
    return DOCUMENT.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


async def test_names_types_and_labels_are_those_of_the_document() -> None:
    families = ours(filled(agents=True))
    assert [f.name for f in families if not f.samples] == []  # else its labels would not be seen
    assert table(families) == documented(), "if meant so: python tests/unit/telemetry/test_metrics.py"


async def test_names_follow_the_conventions() -> None:
    """prometheus.io/docs/practices/naming: base units, spelt out, at the end."""
    for family in ours(filled()):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name), family.name
        assert not re.search(r"_(ms|us|s|sec|kb|mb|minutes|milliseconds|percent)$", family.name), family.name
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_total")), family.name
        assert family.documentation.endswith("."), family.name


def identities(recording: Path) -> set[str]:
    """Every uniqueid, channel, number and caller's name in a recording."""
    found, queues = set(), set()
    for message in messages(recording.read_bytes()):
        queues.add(message.get("Queue"))
        for header, value in message.items():
            if PERSONAL.fullmatch(header) or WHO.fullmatch(header):
                found.update([value] if isinstance(value, str) else value)
    return found - NOBODY - queues  # who calls an extension "support" sees "support" as the number of the other side


def leaks(families: Iterable[Metric], personal: set[str]) -> set[tuple[str, str, str]]:
    """Labels that hold what must not be in one: metric, label, value."""
    # Short numbers are part of much ("1" of "pjsip1"), so those must be equal to be found.
    long = [value for value in personal if len(value) > 5]
    return {
        (sample.name, label, value)
        for family in families
        for sample in family.samples
        for label, value in sample.labels.items()
        if label != "le" and (value in personal or any(one in value for one in long))
    }


@pytest.mark.parametrize("recording", RECORDINGS)
async def test_no_label_holds_a_call_channel_or_caller(recording: str) -> None:
    personal = identities(FIXTURES / f"{recording}.bin")
    assert len(personal) > 20
    registry = filled([recording])
    assert leaks(ours(registry), personal) == set()
    assert leaks(ours(registry), {"support"}), "what is in a label is not found"


async def test_labels_are_bounded() -> None:
    """More calls make no more series."""
    once, thrice = (Counter(f.name for f in ours(filled(["22-exits"] * n)) for _ in f.samples) for n in (1, 3))
    for name in ("connector_state_drift", "connector_asterisk_incidents"):  # a repeated list is a contradiction
        del once[name], thrice[name]
    assert once == thrice


async def test_a_name_from_the_pbx_cannot_break_the_exposition() -> None:
    connector = Connector(Settings.model_validate(SETTINGS))
    names = ['Süd "1"', "a\\b", "line\nbreak", "sales/eu west", "{}=,", '{pbx="x"} 1']
    for name in names:
        connector._links["main"].state.queue(name)
    text = generate_latest(connector._registry).decode()
    waiting = {
        sample.labels["queue"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "connector_queue_callers_waiting"
    }
    assert waiting == set(names)


async def test_a_queue_that_is_gone_keeps_its_counts() -> None:
    connector = Connector(Settings.model_validate(SETTINGS))
    connector._links["main"].state.outcomes["gone"] = {Outcome.ANSWERED: 3}
    labels = {"pbx": "main", "queue": "gone", "outcome": "answered"}
    assert connector._registry.get_sample_value("connector_queue_calls_total", labels) == 3


def write() -> None:
    """Puts the table into docs/metrics.md."""

    async def made() -> str:
        return table(ours(filled(agents=True)))

    before, begin, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    DOCUMENT.write_text(before + begin + asyncio.run(made()) + end + after, "utf-8")


if __name__ == "__main__":
    write()
