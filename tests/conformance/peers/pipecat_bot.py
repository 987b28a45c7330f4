"""A pipecat bot as its users build one: a WebSocket server, pipecat's serializers, a pipeline.

`pipecat_bot.py --port N`. `/auto` lets pipecat find out which carrier calls; `/vonage` and `/audiohook` name it, as
pipecat asks for. The bot says a tone until it is interrupted and listens to the caller. Digits: 1 interrupts, 2 sends
the serializer's mark, 3 ends the pipeline. `GET /calls` tells what it saw of each call.

`/hang_up` is `/auto` with `auto_hang_up`: the serializer ends the call by its carrier's REST interface when the
pipeline ends. Twilio's takes an address (`base_url`); Telnyx's and Plivo's have theirs written in, so their names
resolve to the port $CARRIER_FRONT of this machine, where $SSL_CERT_FILE says who may answer for them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp.connector
import numpy as np
import uvicorn
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.exotel import ExotelFrameSerializer
from pipecat.serializers.genesys import GenesysAudioHookSerializer
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.serializers.vonage import VonageFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

TONE_HZ = 600
TONE_S = 30
IN_HZ, OUT_HZ = 16_000, 24_000
HEARD_S = 2

WRITTEN_IN = ("api.telnyx.com", "api.plivo.com")
ACCOUNT, TOKEN = "account0", "token-of-the-laboratory"

app = FastAPI()
calls: list[dict[str, Any]] = []


class Bot(FrameProcessor):
    """Says a tone, listens, does what digits say."""

    def __init__(self, call: dict[str, Any], mark: dict[str, Any] | None, end: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._call = call
        self._mark = mark
        self._end = end
        self._heard = bytearray()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self.push_frame(frame, direction)
            await self.push_frame(OutputAudioRawFrame(audio=tone(), sample_rate=OUT_HZ, num_channels=1))
        elif isinstance(frame, InputAudioRawFrame):
            self._heard += frame.audio
            del self._heard[: -HEARD_S * IN_HZ * 2]
            self._call["audio_bytes"] += len(frame.audio)
            if self._call["audio_bytes"] // 6_400 != (self._call["audio_bytes"] - len(frame.audio)) // 6_400:
                self._call["hz"], self._call["share"] = loudest(bytes(self._heard))
        elif isinstance(frame, InputDTMFFrame):
            self._call["digits"] += frame.button.value
            await self._digit(frame.button.value)
        else:
            await self.push_frame(frame, direction)

    async def _digit(self, digit: str) -> None:
        match digit:
            case "1":
                await self.push_frame(InterruptionFrame())
            case "2" if self._mark is not None:
                await self.push_frame(OutputTransportMessageUrgentFrame(message=self._mark))
            case "3":
                await self._end()


def tone() -> bytes:
    """16 bit linear."""
    at = np.arange(TONE_S * OUT_HZ)
    return (8_000 * np.sin(2 * math.pi * TONE_HZ / OUT_HZ * at)).astype("<i2").tobytes()


def loudest(pcm: bytes) -> tuple[float, float]:
    """Frequency of the loudest tone, and its share of the energy."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size))) ** 2
    peak = int(spectrum.argmax())
    share = spectrum[max(0, peak - 3) : peak + 4].sum() / max(spectrum.sum(), 1.0)
    return peak * IN_HZ / samples.size, float(share)


@app.get("/calls")
def seen() -> list[dict[str, Any]]:
    """What the bot saw, oldest call first."""
    return calls


@app.websocket("/{kind}")
async def talk(websocket: WebSocket, kind: str) -> None:
    """One call."""
    await websocket.accept()
    call: dict[str, Any] = {
        "kind": kind,
        "query": str(websocket.url.query),
        "headers": dict(websocket.headers),
        "url": str(websocket.url),
        "digits": "",
        "audio_bytes": 0,
        "hz": 0.0,
        "share": 0.0,
        "messages": [],
        "over": False,
    }
    calls.append(call)
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True)
    call["hang_up"] = websocket.query_params.get("api") if kind == "hang_up" else None
    if kind in ("auto", "hang_up"):
        kind, data = await parse_telephony_websocket(websocket)
        call["kind"], call["data"] = kind, data.model_dump(by_alias=True, mode="json")
    serializer, mark = SERIALIZERS[kind](call)
    params.serializer = listening(serializer, call)
    if kind == "audiohook":
        params.fixed_audio_packet_size = 1_600
    transport = FastAPIWebsocketTransport(websocket=websocket, params=params)

    async def end() -> None:
        await worker.queue_frame(EndFrame())

    pipeline = Pipeline([transport.input(), Bot(call, mark, end), transport.output()])
    rates = PipelineParams(audio_in_sample_rate=IN_HZ, audio_out_sample_rate=OUT_HZ)
    worker = PipelineWorker(pipeline, params=rates)

    @transport.event_handler("on_client_disconnected")
    async def gone(_transport: Any, _client: Any) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    call["over"] = True


def listening(serializer: Any, call: dict[str, Any]) -> Any:
    """The serializer as it is; the texts that come in, but for audio, are written down before it gets them."""
    plain = serializer.deserialize

    async def deserialize(data: str | bytes) -> Any:
        if isinstance(data, str) and '"media"' not in data[:40]:
            call["messages"].append(json.loads(data))
        return await plain(data)

    serializer.deserialize = deserialize
    return serializer


def twilio(call: dict[str, Any]) -> tuple[Any, Any]:
    sid = call["data"]["stream_id"]
    api = call["hang_up"]
    serializer = TwilioFrameSerializer(
        sid,
        call_sid=call["data"]["call_id"],
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        base_url=api,
        params=TwilioFrameSerializer.InputParams(auto_hang_up=bool(api)),
    )
    return serializer, {"event": "mark", "streamSid": sid, "mark": {"name": "m"}}


def telnyx(call: dict[str, Any]) -> tuple[Any, Any]:
    encoding = call["data"]["outbound_encoding"]
    serializer = TelnyxFrameSerializer(
        call["data"]["stream_id"],
        encoding,
        encoding,
        call_control_id=call["data"]["call_id"],
        api_key=TOKEN,
        params=TelnyxFrameSerializer.InputParams(auto_hang_up=bool(call["hang_up"])),
    )
    return serializer, {"event": "mark", "mark": {"name": "m"}}


def plivo(call: dict[str, Any]) -> tuple[Any, Any]:
    sid = call["data"]["stream_id"]
    serializer = PlivoFrameSerializer(
        sid,
        call_id=call["data"]["call_id"],
        auth_id=ACCOUNT,
        auth_token=TOKEN,
        params=PlivoFrameSerializer.InputParams(auto_hang_up=bool(call["hang_up"])),
    )
    return serializer, {"event": "checkpoint", "streamId": sid, "name": "m"}


def exotel(call: dict[str, Any]) -> tuple[Any, Any]:
    sid = call["data"]["stream_id"]
    return ExotelFrameSerializer(sid), {"event": "mark", "stream_sid": sid, "mark": {"name": "m"}}


def vonage(call: dict[str, Any]) -> tuple[Any, Any]:
    return VonageFrameSerializer(), {"action": "notify", "payload": {"name": "m"}}


def audiohook(call: dict[str, Any]) -> tuple[Any, Any]:
    return GenesysAudioHookSerializer(), None


SERIALIZERS = {
    "twilio": twilio,
    "telnyx": telnyx,
    "plivo": plivo,
    "exotel": exotel,
    "vonage": vonage,
    "audiohook": audiohook,
}


class Here(ThreadedResolver):
    """Resolves the carriers' names to this machine, as a hosts file would; other names as ever."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        if host not in WRITTEN_IN:
            return await super().resolve(host, port, family)
        found = await super().resolve("127.0.0.1", int(os.environ["CARRIER_FRONT"]), family)
        return [{**each, "hostname": host} for each in found]


aiohttp.connector.DefaultResolver = Here


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    asyncio.run(server.serve())


if __name__ == "__main__":
    main()
