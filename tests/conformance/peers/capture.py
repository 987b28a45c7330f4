"""Writes what pipecat's serializers send into tests/fixtures/dialects.

`.venv-conformance/bin/python tests/conformance/peers/capture.py` (scripts/setup conformance makes the environment).
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipecat.frames.frames import EndFrame, InterruptionFrame, OutputAudioRawFrame, OutputTransportMessageUrgentFrame
from pipecat.serializers.exotel import ExotelFrameSerializer
from pipecat.serializers.genesys import GenesysAudioHookSerializer
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.serializers.vonage import VonageFrameSerializer

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dialects"
RATE_HZ = 24_000
SID = "OUR_ID"


class Setup:
    """What a serializer looks at when it is set up."""

    audio_in_sample_rate = 16_000


def tone(ms: int) -> bytes:
    """A sine of 440 Hz, 16 bit linear."""
    count = RATE_HZ * ms // 1000
    return b"".join(struct.pack("<h", round(8000 * math.sin(2 * math.pi * 440 * n / RATE_HZ))) for n in range(count))


def serializers() -> dict[str, tuple[Any, list[Any]]]:
    """By dialect: the serializer, and what an application would send by hand."""
    off = {"auto_hang_up": False}
    return {
        "twilio": (
            TwilioFrameSerializer(SID, params=TwilioFrameSerializer.InputParams(**off)),
            [{"event": "mark", "streamSid": SID, "mark": {"name": "greeting"}}],
        ),
        "telnyx": (
            TelnyxFrameSerializer(SID, "PCMU", "PCMU", params=TelnyxFrameSerializer.InputParams(**off)),
            [{"event": "mark", "mark": {"name": "greeting"}}],
        ),
        "plivo": (
            PlivoFrameSerializer(SID, params=PlivoFrameSerializer.InputParams(**off)),
            [{"event": "checkpoint", "streamId": SID, "name": "greeting"}],
        ),
        "exotel": (
            ExotelFrameSerializer(SID, params=ExotelFrameSerializer.InputParams()),
            [{"event": "mark", "stream_sid": SID, "mark": {"name": "greeting"}}],
        ),
        "vonage": (VonageFrameSerializer(), [{"action": "notify", "payload": {"name": "greeting"}}]),
        "audiohook": (GenesysAudioHookSerializer(), []),
    }


async def main() -> None:
    """Writes the files."""
    for name, (serializer, by_hand) in serializers().items():
        await serializer.setup(Setup())
        frames: list[Any] = [
            OutputAudioRawFrame(audio=tone(120), sample_rate=RATE_HZ, num_channels=1) for _ in range(3)
        ]
        frames += [OutputTransportMessageUrgentFrame(message=message) for message in by_hand]
        frames += [InterruptionFrame(), EndFrame()]
        said: list[Any] = []
        if name == "audiohook":
            ask = {"version": "2", "type": "open", "seq": 1, "serverseq": 0, "id": SID, "position": "PT0S"}
            media = [{"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}]
            for kind, parameters in (("open", {"media": media}), ("ping", {})):
                answer = await serializer.deserialize(json.dumps({**ask, "type": kind, "parameters": parameters}))
                said.append(await serializer.serialize(answer))
        said += [await serializer.serialize(frame) for frame in frames]
        if name == "audiohook":
            answer = await serializer.deserialize(json.dumps({**ask, "type": "close", "parameters": {"reason": "end"}}))
            said.append(await serializer.serialize(answer))
        shown = [
            {"binary": base64.b64encode(each).decode()} if isinstance(each, bytes) else {"text": each}
            for each in said
            if each
        ]
        document = {"of": f"pipecat-ai {version('pipecat-ai')}", "messages": shown}
        (FIXTURES / f"{name}_from_pipecat.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
