"""Every way out of a queue, as a real Asterisk sent it, gets its true outcome."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from connector.acd.apply import apply
from connector.acd.model import PbxState
from connector.asterisk.replay import events
from connector.asterisk.translate import Malformed
from connector.events import AnyEvent, CallOutcome, DialplanStep, LegEnded, Outcome

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"

EXPECTED = {
    "answered agent": [("support", Outcome.ANSWERED)],
    "answered caller": [("support", Outcome.ANSWERED)],
    "continue": [("support", Outcome.ANSWERED)],
    "gosub": [("support", Outcome.ANSWERED)],
    "abandon far hangup": [("support", Outcome.ABANDONED)],
    "abandon ami hangup": [("support", Outcome.ABANDONED)],
    "redirect": [("support", Outcome.REDIRECTED)],
    "withdraw": [("support", Outcome.WITHDRAWN)],
    "key": [("support", Outcome.KEY_EXIT)],
    "timeout twice": [("support", Outcome.TIMED_OUT), ("tiny", Outcome.TIMED_OUT)],
    "joinempty": [("empty", Outcome.JOIN_EMPTY)],
    "full": [("tiny", Outcome.FULL), ("tiny", Outcome.ABANDONED)],
    "leaveempty": [("empty", Outcome.LEFT_EMPTY)],
    "ringnoanswer": [("support", Outcome.ABANDONED)],
}


def excerpt(version: str, step: str) -> list[AnyEvent]:
    """The events of one step of the recording, and of nothing before it."""
    recording = (FIXTURES / f"{version}-exits.bin").read_bytes()
    steps: list[tuple[str, int]] = json.loads((FIXTURES / f"{version}-exits.json").read_text())["steps"]
    names = [name for name, _ in steps]
    starts = [start for _, start in steps] + [len(recording)]
    at = names.index(step)
    found = []
    for event in events(recording[starts[at] : starts[at + 1]], "main"):
        assert not isinstance(event, Malformed)
        found.append(event)
    return found


def outcomes(state: PbxState, stream: Sequence[AnyEvent]) -> list[CallOutcome]:
    return [change for event in stream for change in apply(state, event) if isinstance(change, CallOutcome)]


@pytest.mark.parametrize("version", ["22", "16"])
@pytest.mark.parametrize("step", EXPECTED)
def test_exit(version: str, step: str) -> None:
    state = PbxState("main")
    got = outcomes(state, excerpt(version, step))
    assert [(o.queue, o.outcome) for o in got] == EXPECTED[step]
    assert not state.leaving
    assert not state.where
    assert not any(queue.waiting for queue in state.queues.values())


@pytest.mark.parametrize("version", ["22", "16"])
@pytest.mark.parametrize("step", [s for s in EXPECTED if s not in ("joinempty", "full")])
def test_exit_without_newexten(version: str, step: str) -> None:
    """An event filter that drops Newexten costs time, not truth."""
    stream = [event for event in excerpt(version, step) if not isinstance(event, DialplanStep)]
    assert [(o.queue, o.outcome) for o in outcomes(PbxState("main"), stream)] == EXPECTED[step]


@pytest.mark.parametrize("version", ["22", "16"])
def test_refusal_without_newexten_has_no_queue(version: str) -> None:
    stream = [event for event in excerpt(version, "joinempty") if not isinstance(event, DialplanStep)]
    assert [(o.queue, o.outcome) for o in outcomes(PbxState("main"), stream)] == [("", Outcome.JOIN_EMPTY)]


@pytest.mark.parametrize("version", ["22", "16"])
@pytest.mark.parametrize(
    ("step", "wait_s"),
    [("timeout twice", 2.0), ("withdraw", 1.0), ("leaveempty", 3.0), ("key", 0.4), ("answered agent", 0.5)],
)
def test_wait_is_the_time_in_the_queue(version: str, step: str, wait_s: float) -> None:
    assert outcomes(PbxState("main"), excerpt(version, step))[0].wait_s == pytest.approx(wait_s, abs=0.05)


@pytest.mark.parametrize("version", ["22", "16"])
@pytest.mark.parametrize("step", ["redirect", "key", "abandon ami hangup"])
def test_hangup_extension(version: str, step: str) -> None:
    """An `h` extension moves the channel at its end; that is no redirect."""
    stream = excerpt(version, step)
    caller = next(e.uniqueid for e in stream if isinstance(e, LegEnded) and e.location.startswith(("q,", "keys,")))
    moved = [
        msgspec.structs.replace(event, location=event.location.split(",")[0] + ",h,1")
        if isinstance(event, LegEnded) and event.uniqueid == caller
        else event
        for event in stream
    ]
    assert [(o.queue, o.outcome) for o in outcomes(PbxState("main"), moved)] == EXPECTED[step]


@pytest.mark.parametrize("version", ["22", "16"])
def test_the_whole_recording_agrees_with_queue_log(version: str) -> None:
    state = PbxState("main")
    for event in events((FIXTURES / f"{version}-exits.bin").read_bytes(), "main"):
        assert not isinstance(event, Malformed)
        apply(state, event)
    logged: dict[str, dict[str, int]] = {}
    for line in json.loads((FIXTURES / f"{version}-exits.json").read_text())["queue_log"]:
        _, _, queue, _, what, *_ = line.split("|")
        logged.setdefault(queue, {}).setdefault(what, 0)
        logged[queue][what] += 1
    for queue, ours in state.outcomes.items():
        log = logged[queue]
        assert ours.get(Outcome.ANSWERED, 0) == log.get("CONNECT", 0)
        assert ours.get(Outcome.ABANDONED, 0) + ours.get(Outcome.REDIRECTED, 0) == log.get("ABANDON", 0)
        assert ours.get(Outcome.TIMED_OUT, 0) == log.get("EXITWITHTIMEOUT", 0)
        assert ours.get(Outcome.LEFT_EMPTY, 0) == log.get("EXITEMPTY", 0)
        assert ours.get(Outcome.KEY_EXIT, 0) == log.get("EXITWITHKEY", 0)
        assert ours.get(Outcome.WITHDRAWN, 0) == log.get("WITHDRAW", 0)
        refused = ours.get(Outcome.JOIN_EMPTY, 0) + ours.get(Outcome.FULL, 0)
        assert sum(ours.values()) - refused == log["ENTERQUEUE"]
    assert state.drift == {}
