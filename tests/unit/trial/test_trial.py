"""A profile test against a good bot and against wrong ones: real sockets, and a real media worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from connector.cli import main
from connector.config import Settings
from connector.media.control import EndCause, StreamEnded, StreamStats
from connector.media.engine import MediaEngine
from connector.media.quality import Quality, Sound
from connector.trial.caller import Patient
from connector.trial.report import Outcome, Report, Step
from connector.trial.run import media, try_profile
from connector.trial.script import Script
from tests.unit.trial import bots
from tests.unit.trial.bots import Kind, Polite, every, serving, tone

QUICK = Patient(
    greeting=1.5, quiet=0.4, finish=2.0, speech=2.0, answer=2.0, interrupt=2.0, digits=1.0, freeze=2.0, after=1.0
)
GOOD = Patient(
    greeting=8.0, quiet=0.4, finish=4.0, speech=2.0, answer=8.0, interrupt=5.0, digits=5.0, freeze=4.0, after=1.0
)
"""Each is waited for as long as a busy machine may need; a good bot needs little of it."""
LONG = Patient(
    greeting=1.0, quiet=0.4, finish=8.0, speech=7.0, answer=1.0, interrupt=1.0, digits=0.5, freeze=0.5, after=0.5
)


class Trials:
    """On media workers of their own.

    Args:
        engine: They.
        quick: The script leaves them alone.
    """

    def __init__(self, engine: MediaEngine, *, quick: bool) -> None:
        self._engine = engine
        self._quick = quick

    async def of(self, profile: dict[str, Any], patient: Patient = QUICK, **media: Any) -> Report:
        settings = settings_of(
            {"attempts": 1, "connect_timeout_ms": 8_000, "dial_timeout_ms": 9_000, **profile}, **media
        )
        one = settings.profile["p"]
        return await try_profile(settings, self._engine, "p", one, patient=patient, quick=self._quick, environ={})

    async def bot(self, kind: Kind, patient: Patient = QUICK, **media: Any) -> Report:
        async with serving(kind) as url:
            return await self.of({"url": url}, patient, **media)

    async def status(self, status: HTTPStatus) -> Report:
        def refuse(socket: ServerConnection, _: Request) -> Response:
            return socket.respond(status, "no\n")

        async with serving(Polite, process_request=refuse) as url:
            return await self.of({"url": url, "auth": {"kind": "bearer", "secret": "s"}})

    async def hang(self) -> Report:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await self.of({"url": f"ws://127.0.0.1:{port}/", "connect_timeout_ms": 300})

    async def certificate(self, folder: Path) -> Report:
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bot"]
        made = await asyncio.create_subprocess_exec(
            *command, "-keyout", str(key), "-out", str(certificate), stderr=asyncio.subprocess.DEVNULL
        )
        assert await made.wait() == 0
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        async with serving(Polite, ssl=tls) as url:
            return await self.of(
                {
                    "url": url.replace("ws:", "wss:"),
                }
            )

    async def listener(self, *, closes: bool = False, talks: bool = False) -> Report:
        """A server of RingCX's kind; the vendor's own closes after the first Stop."""

        async def converse(socket: ServerConnection) -> None:
            async for text in socket:
                event = json.loads(text)["event"]
                if event == "Start" and talks:
                    await socket.send("thank you")
                if event == "Stop" and closes:
                    return

        async with serving(converse) as url:
            return await self.of({"url": url, "dialect": "ringcx", "mode": "assist"})

    async def transfer(self) -> Report:
        async def converse(socket: ServerConnection) -> None:
            async for message in socket:
                if isinstance(message, str) and json.loads(message)["type"] == "start":
                    await socket.send(json.dumps({"type": "transfer", "target": "extension:900@out"}))

        async with serving(converse) as url:
            return await self.of({"url": url, "dialect": "raw"})


def settings_of(profile: dict[str, Any], **media: Any) -> Settings:
    pbx = {"main": {"ami": {"secret": "a"}, "ari": {"password": "b"}}}
    return Settings.model_validate({"pbx": pbx, "profile": {"p": profile}, "media": media})


@contextlib.asynccontextmanager
async def trials(*, quick: bool) -> AsyncIterator[Trials]:
    async with media(settings_of({"url": "ws://127.0.0.1:9/"}), workers=1 if quick else 2) as engine:
        yield Trials(engine, quick=quick)


async def alone(kind: Kind, **options: Any) -> Report:
    """The whole script, on media workers that it may stop and kill."""
    async with trials(quick=False) as on, serving(kind, **options) as url:
        return await on.of({"url": url}, GOOD)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reports(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Report]]:
    """All of them at once: a script waits most of its time."""
    folder = tmp_path_factory.mktemp("tls")
    async with trials(quick=True) as on:
        works = {
            "slow": on.bot(every(0.025, tone(0.02)), LONG),
            "fast": on.bot(every(0.015, tone(0.02)), LONG),
            "mute": on.bot(bots.Mute),
            "silent": on.bot(bots.Silent),
            "wrong_words": on.bot(bots.WrongWords),
            "too_much": on.bot(lambda socket: Polite(socket, 3.0), playout_max_ms=500),
            "quitter": on.bot(bots.Quitter),
            "deaf": on.bot(bots.Deaf),
            "refuses": on.status(HTTPStatus.SERVICE_UNAVAILABLE),
            "rejects": on.status(HTTPStatus.UNAUTHORIZED),
            "hangs": on.hang(),
            "tls": on.certificate(folder),
            "listens": on.listener(),
            "closes_at_stop": on.listener(closes=True),
            "talks": on.listener(talks=True),
            "transfers": on.transfer(),
            "impatient": alone(Polite, ping_interval=1.0, ping_timeout=1.5),
            "one_call_once": alone(bots.OneCallOnce),
        }
        done = await asyncio.gather(*works.values())
        yield dict(zip(works, done, strict=True))


def finding(report: Report, step: Step) -> tuple[Outcome, str]:
    found = [each for each in report.findings if each.step is step]
    assert len(found) == 1, report
    assert bool(found[0].remedy) == (found[0].outcome in (Outcome.WARNING, Outcome.ERROR))
    return found[0].outcome, found[0].text


async def test_a_good_bot_passes() -> None:
    report = await alone(Polite)
    assert {each.step for each in report.findings} == {*Step}, report
    # A busy machine may be slow to take a call, and to close it.
    wrong = {each.step for each in report.findings if each.outcome is not Outcome.OK}
    assert wrong <= {Step.CONNECT, Step.HANG_UP}, str(report)
    assert report.passed
    assert report.as_dict()["passed"] is True
    assert "passed: 0 errors" in str(report)


@pytest.mark.parametrize(
    ("bot", "step", "outcome", "says"),
    [
        ("refuses", Step.CONNECT, Outcome.ERROR, "bot_unavailable"),
        ("rejects", Step.CONNECT, Outcome.ERROR, "HTTP 401"),
        ("hangs", Step.CONNECT, Outcome.ERROR, "bot_timeout"),
        ("tls", Step.CONNECT, Outcome.ERROR, "bot_tls"),
        ("quitter", Step.GREETING, Outcome.ERROR, "code 1011 'no model'"),
        ("mute", Step.GREETING, Outcome.WARNING, "said nothing"),
        ("mute", Step.CALLER_AUDIO, Outcome.WARNING, "did not answer"),
        ("mute", Step.BOT_AUDIO, Outcome.ERROR, "no audio"),
        ("silent", Step.BOT_AUDIO, Outcome.ERROR, "silence"),
        ("wrong_words", Step.PROTOCOL, Outcome.ERROR, "unknown_event (event 'medai')"),
        ("too_much", Step.PACE, Outcome.ERROR, "were dropped"),
        ("slow", Step.PACE, Outcome.ERROR, "s of audio a second"),
        ("fast", Step.PACE, Outcome.ERROR, "s of audio a second"),
        ("slow", Step.INTERRUPT, Outcome.WARNING, "spoke on"),
        ("deaf", Step.HANG_UP, Outcome.WARNING, "did not answer the close"),
        ("transfers", Step.GREETING, Outcome.ERROR, "extension:900@out is not among the targets"),
        ("impatient", Step.SLOW_READ, Outcome.ERROR, "after nothing was read for 4 s"),
        (
            "one_call_once",
            Step.SIDE_BY_SIDE,
            Outcome.ERROR,
            "calls at once",
        ),  # sent away at once, or as soon as it was taken
        ("one_call_once", Step.RECONNECT, Outcome.ERROR, "1008 'call known'"),
        ("listens", Step.CALLER_AUDIO, Outcome.OK, "took 2 s of speech"),
        ("closes_at_stop", Step.HANG_UP, Outcome.OK, "closed its side"),
        ("talks", Step.PROTOCOL, Outcome.ERROR, "could not be used"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_wrong_is_named(
    reports: dict[str, Report], bot: str, step: Step, outcome: Outcome, says: str
) -> None:
    found, text = finding(reports[bot], step)
    assert (found, says in text) == (outcome, True), reports[bot]
    assert reports[bot].passed != any(each.outcome is Outcome.ERROR for each in reports[bot].findings)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_listens_is_not_asked_to_speak(reports: dict[str, Report]) -> None:
    for name in ("listens", "closes_at_stop"):
        assert reports[name].passed, reports[name]
        assert not {Step.GREETING, Step.BOT_AUDIO, Step.DIGITS} & {each.step for each in reports[name].findings}


def test_another_codec_than_agreed_is_named() -> None:
    report, nobody = Report("p", "twilio", "ws://bot"), cast(Any, None)
    profile = settings_of({"url": "ws://127.0.0.1:9/"}).profile["p"]
    script = Script(
        profile=profile, engine=nobody, new_call=nobody, dialled=[], patient=QUICK, quick=True, report=report
    )  # fmt: skip
    quality = Quality(age_s=9.0, bot=Sound(looked_ms=900, level_dbfs=-10.0, sounds_like="l16"))
    stats = StreamStats(packets_in=450, bot_audio_bytes=1)
    script._pace_and_sound(StreamEnded("s", EndCause.CALLER_HUNG_UP, "", stats, quality))
    outcome, text = finding(report, Step.SOUND)
    assert (outcome, text) == (Outcome.ERROR, "as pcmu at 8000 Hz it is noise, as l16 it is sound")


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "connector.toml"
    pbx = '[pbx.main.ami]\nsecret = "a"\n[pbx.main.ari]\npassword = "b"\n'
    file.write_text(pbx + '[profile.down]\nurl = "ws://127.0.0.1:9/?key=secret"\nattempts = 1\n')
    assert main(["profile", "test", "down", "--config", str(file), "--json", "--quick"]) == 1
    told = capsys.readouterr()
    shown = json.loads(told.out)
    assert (shown["profile"], shown["dialect"], shown["passed"]) == ("down", "twilio", False)
    assert [(each["step"], each["outcome"]) for each in shown["findings"]] == [("connect", "error")]
    assert "secret" not in told.out + told.err
    assert main(["profile", "test", "nobody", "--config", str(file)]) == 2
    assert "down" in capsys.readouterr().err
    assert main(["profile", "test", "down", "--config", str(file), "--say", str(file)]) == 2
