"""An act is sent once, and what came of it is said as far as it is known."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from connector.acd.model import PbxState
from connector.asterisk.ami_model import (
    AmiActionRejected,
    AmiConnectionLost,
    AmiNotConnected,
    PermissionDenied,
    Response,
)
from connector.asterisk.ari import AriTimeout
from connector.calls.agents import together
from connector.calls.callers import plain
from connector.calls.confirm import Confirmations
from connector.calls.desk import Desk
from connector.calls.outcome import Denied, NotPossible, Outcome, Result
from connector.events import Event, LegEnded, LinkState


class Manager:
    """Answers as it is told; counts what is sent."""

    state = LinkState.UP

    def __init__(self, answer: Exception | None = None, then: Any = None) -> None:
        self.sent: list[str] = []
        self.answer = answer
        self.then = then

    async def action(self, name: str, **_fields: Any) -> Response:
        self.sent.append(name)
        if self.then is not None:
            self.then()
        if self.answer is not None:
            raise self.answer
        return Response({"Response": "Success"})


ENDED = LegEnded(pbx="main", at=1.0, uniqueid="1", linkedid="1", cause=16)


def ended(event: Event) -> bool:
    return isinstance(event, LegEnded) and event.uniqueid == "1"


def made(answer: Exception | None = None, *, then: Any = None) -> tuple[Desk, Manager, Confirmations]:
    confirmations = Confirmations()
    manager = Manager(answer, then)
    nobody: Any = None
    ami: Any = manager
    desk = Desk(PbxState("main"), ami=ami, ari=nobody, confirmations=confirmations, monotonic=time.monotonic)
    return desk, manager, confirmations


async def test_done_is_what_the_event_says() -> None:
    desk, manager, confirmations = made()
    acting = asyncio.create_task(desk.manager("Hangup", ended, "hung up"))
    await asyncio.sleep(0)
    assert not acting.done(), "Asterisk's consent is not the deed"
    confirmations.on_event(LegEnded(pbx="main", at=1.0, uniqueid="2", linkedid="2", cause=16))
    await asyncio.sleep(0)
    assert not acting.done()
    confirmations.on_event(ENDED)
    result = await acting
    assert (result.outcome, result.detail, manager.sent) == (Outcome.DONE, "hung up", ["Hangup"])
    assert not confirmations._waiting


async def test_an_event_that_overtakes_the_answer_counts() -> None:
    desk, manager, confirmations = made()
    manager.then = lambda: confirmations.on_event(ENDED)
    assert (await desk.manager("Hangup", ended, "hung up")).outcome is Outcome.DONE


LOST = AmiConnectionLost("Hangup", "it broke")


@pytest.mark.parametrize("error", [None, LOST, AriTimeout("POST", "/x", None, "late")])
async def test_without_the_event_it_is_unknown_and_never_sent_again(error: Exception | None) -> None:
    desk, manager, confirmations = made(error)
    result = await desk.act(lambda: manager.action("Hangup"), ended, "hung up", confirm_s=0.01)
    assert result.outcome is Outcome.UNKNOWN
    assert manager.sent == ["Hangup"]
    assert not confirmations._waiting


async def test_an_answer_that_was_lost_is_made_up_for_by_the_event() -> None:
    desk, manager, confirmations = made(AmiConnectionLost("Hangup", "it broke"))
    manager.then = lambda: confirmations.on_event(ENDED)
    assert (await desk.manager("Hangup", ended, "hung up")).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PermissionDenied("Redirect", "Permission denied"), Denied, "write"),
        (AmiActionRejected("Redirect", "No such channel"), Denied, "No such channel"),
        (AmiNotConnected("Redirect", "there is no connection"), Denied, "no connection"),
    ],
)
async def test_a_refusal_is_said_with_a_way_out(error: Exception, kind: type[NotPossible], words: str) -> None:
    desk, _, _ = made(error)
    with pytest.raises(kind) as refused:
        await desk.manager("Redirect", ended, "")
    assert words in f"{refused.value} {refused.value.remedy}"


async def test_without_a_connection_nothing_is_sent() -> None:
    desk, manager, _ = made()
    manager.state = LinkState.DOWN
    with pytest.raises(NotPossible, match="nothing was done"):
        await desk.manager("Hangup", ended, "")
    assert manager.sent == []


async def test_what_has_no_event_is_sent_not_done() -> None:
    desk, _, _ = made()
    assert (await desk.manager("MessageSend", None, "sent")).outcome is Outcome.SENT


def test_several_are_as_good_as_the_worst() -> None:
    done, unknown = Result(outcome=Outcome.DONE, detail="a"), Result(outcome=Outcome.UNKNOWN, detail="b")
    assert together([done, unknown, done]).outcome is Outcome.UNKNOWN
    assert together([done, unknown]).detail == "a; b"
    with pytest.raises(NotPossible):
        together([])


def test_a_name_cannot_end_the_header_that_it_stands_in() -> None:
    assert plain('Anna" <sip:x>\r\nX: y') == "Anna sip:xX: y"
