"""Steps, and the limit of a session, in the life of a call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connector.net.fetch import Fetched, Fetcher


class Server:
    """Is asked, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.status = 200

    async def fetch(self, *args: Any, **more: Any) -> Fetched:
        self.asked.set()
        await self.answers.wait()
        return Fetched(self.status, {}, b"")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(Fetcher, "fetch", made.fetch)
    return made


async def test_a_step_needs_no_place_of_a_stream(scene: Any, server: Server) -> None:
    server.answers.set()
    for channel_id in ("1.1", "1.2", "1.3"):  # of streams there may be two
        scene.enters(channel_id, "ask")
    await scene.until(lambda: len(scene.ari.results) == 3)
    assert set(scene.ari.results.values()) == {"passthru_200"}
    assert scene.count("connector_steps_total", profile="ask", result="passthru_200") == 3


async def test_a_call_that_is_sent_in_again_at_once_is_taken(scene: Any, server: Server) -> None:
    server.answers.set()
    scene.ari.hold("continue")
    scene.enters("1.1", "ask")
    await scene.ari.reach("continue")
    # It has left, and come again to a bot, before the answer to our request to let it go.
    scene.leaves("1.1")
    scene.enters("1.1", "talk")
    await scene.until(lambda: "add_channel" in scene.ari.asked)


async def test_stop_lets_a_call_go_on_whose_server_does_not_answer(scene: Any, server: Server) -> None:
    scene.enters("1.1", "ask")
    await server.asked.wait()
    scene.manager.stop()
    await scene.until_over()
    assert scene.ari.results == {"1.1": "draining"}
    assert scene.ari.up == {"1.1": "dialplan"}


async def test_who_hangs_up_while_the_server_is_asked_costs_nothing_more(scene: Any, server: Server) -> None:
    scene.enters("1.1", "ask")
    await server.asked.wait()
    scene.hangs_up("1.1")
    await scene.until_over()
    assert "continue" not in scene.ari.asked


async def test_a_server_that_is_not_there_and_one_that_answers_nonsense_let_the_call_go_on(
    scene: Any, server: Server
) -> None:
    server.answers.set()
    scene.enters("1.1", "whom")
    await scene.until(lambda: scene.ari.results)
    assert scene.ari.results == {"1.1": "connect_unanswered"}


async def test_a_defect_costs_the_step_and_not_the_caller(
    scene: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.streams.steps.target_after", lambda *_: 1 / 0)
    server.answers.set()
    scene.enters("1.1", "ask")
    await scene.until_over()
    assert scene.ari.results == {"1.1": "step_failed"}
    assert scene.ari.up == {"1.1": "dialplan"}


async def test_a_session_that_is_too_long_is_ended_and_the_call_goes_on(scene: Any) -> None:
    go_on = scene.ari.hold("add_channel")
    scene.enters()
    await scene.ari.reach("add_channel")
    (call,) = scene.manager.calls.values()
    call._profile = call.profile.model_copy(update={"max_session_minutes": 0.0005})
    go_on.set()
    await scene.until_over()
    assert scene.ari.results == {"1.1": "session_limit"}
    assert scene.ari.up == {"1.1": "dialplan"}
