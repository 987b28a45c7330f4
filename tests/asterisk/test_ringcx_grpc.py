"""RingCX's gRPC streaming of a real call to a real gRPC server: both participants, order, hold, token, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from connector.audio import g711
from connector.audio.tone import dominant_tone
from connector.dialects.ringcx_events import METHOD, stream_event
from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

TOKEN = "Bearer token-of-the-laboratory"
AGENT_HZ, CALLER_HZ = 450, 1000


class Server(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Takes streams of whoever has the token.

    Attributes:
        streams: Events of each, oldest first.
        over: Of each, whether the client ended it properly.
        refused: Streams without the token.
    """

    def __init__(self) -> None:
        self.streams: list[list[Any]] = []
        self.over: list[bool] = []
        self.refused = 0

    def service(self, details: Any) -> Any:
        if details.method != METHOD:
            return None
        return grpc.stream_unary_rpc_method_handler(
            self._take, request_deserializer=stream_event().FromString, response_serializer=lambda _: b""
        )

    async def _take(self, events: AsyncIterator[Any], context: Any) -> str:
        if dict(context.invocation_metadata()).get("authorization") != TOKEN:
            self.refused += 1
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")
        number = len(self.streams)
        self.streams.append([])
        self.over.append(False)
        async for event in events:
            self.streams[number].append(event)
        self.over[number] = True
        return ""

    @contextlib.asynccontextmanager
    async def running(self, credentials: Any = None) -> AsyncIterator[int]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self,))
        where = f"{HOST}:0"
        port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
        await server.start()
        try:
            yield port
        finally:
            await server.stop(0)


def tones(events: list[Any]) -> dict[str, float]:
    """What each participant sounds like in the last half second."""
    who = {each.segment_start.segment_id: each.segment_start.participant.type for each in of(events, "segment_start")}
    heard: dict[int, bytes] = {}
    for each in of(events, "segment_media"):
        kind = who[each.segment_media.segment_id]
        heard[kind] = heard.get(kind, b"") + each.segment_media.audio_content.payload
    names = {1: "contact", 2: "agent"}
    found = {names[kind]: dominant_tone(g711.ulaw_decode(audio[-4000:]), 8000) for kind, audio in heard.items()}
    return {name: round(each.hz, -1) for name, each in found.items() if each.share > 0.9}


def of(events: list[Any], kind: str) -> list[Any]:
    return [each for each in events if each.WhichOneof("event") == kind]


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - polled, as everything beside Asterisk
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {timeout_s:g} s") from None


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(path)]
    subprocess.run([*command, "-out", str(path.with_suffix(".crt"))], check=True, capture_output=True)
    return path


async def test_a_server_hears_both_participants_of_a_call(
    make_asterisk: Callable[..., LabAsterisk],
    make_connector: Callable[..., ConnectorProcess],
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))  # the connector's: inherited
    chain = certificate.read_bytes(), certificate.with_suffix(".crt").read_bytes()
    plain, secure = Server(), Server()
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(plain.running())
        tls_port = await stack.enter_async_context(secure.running(grpc.ssl_server_credentials((chain,))))
        pbx = await stack.enter_async_context(make_asterisk(phones=1))
        server = (HOST, pbx.sip_port)
        await stack.enter_async_context(
            Phone(pbx.ports.phones[0], "agent1", server, source=tone_source(AGENT_HZ), on_invite=Answer())
        )
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(CALLER_HZ)))
        common: dict[str, Any] = {
            "mode": "assist",
            "dialect": {"name": "ringcx-grpc", "account_id": "7"},
            "connect_timeout_ms": 10_000,
            "dial_timeout_ms": 20_000,
        }
        headers = {"authorization": TOKEN}
        connector = await stack.enter_async_context(
            make_connector(
                beside=pbx,
                bots={},
                profile={
                    "ears": {**common, "url": f"grpc+plain://127.0.0.1:{port}", "headers": headers},
                    "tls": {**common, "url": f"grpc://localhost:{tls_port}", "headers": headers},
                    "stranger": {**common, "url": f"grpc+plain://127.0.0.1:{port}"},
                    "nobody": {**common, "url": "grpc+plain://127.0.0.1:1"},
                },
            )
        )
        call = await caller.call("support")
        wanted = {"agent": AGENT_HZ, "contact": CALLER_HZ}
        await until(
            lambda: all(each.streams and tones(each.streams[0]) == wanted for each in (plain, secure)), "both tones"
        )
        events = plain.streams[0]
        assert [each.WhichOneof("event") for each in events[:3]] == ["dialog_init", "segment_start", "segment_start"]
        dialog = events[0].dialog_init
        assert (dialog.account.id, dialog.dialog.ani, dialog.dialog.type) == ("7", "alice", 1)
        assert {each.segment_start.product.id for each in of(events, "segment_start")} == {"support"}
        await until(lambda: plain.refused, "the one without a token is refused")
        # A refusal that crosses with what is being sent can come as a broken stream: gRPC says INTERNAL then.
        refused: list[tuple[str, dict[str, str]]] = [("stranger", {}), ("nobody", {"cause": "bot_refused"})]
        for profile, cause in refused:
            await connector.until_metric(
                "connector_streams_total",
                lambda value: value == 1,
                timeout_s=30.0,
                pbx="main",
                profile=profile,
                **cause,
            )
        await call.hang_up()
        await until(lambda: plain.over[0] and secure.over[0], "the end of the stream")
        segments = {each.segment_start.segment_id for each in of(events, "segment_start")}
        assert {each.segment_stop.segment_id for each in of(events, "segment_stop")} == segments
        assert len({each.session_id for each in events}) == 1
        for segment in segments:
            media = [e.segment_media for e in of(events, "segment_media") if e.segment_media.segment_id == segment]
            numbers = [each.audio_content.seq for each in media]
            assert numbers == list(range(1, len(media) + 1)), "strictly rising"
            assert {len(each.audio_content.payload) for each in media[:-1]} == {800}, "100 ms each"
        await until_nothing_left(pbx)
