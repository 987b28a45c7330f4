"""The same conversation for each dialect, as the messages that it sends: what the golden files hold.

`python -m tests.unit.dialects.conversation` writes them anew; look at the difference before you keep it.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from connector.audio.formats import Encoding
from connector.dialects import registry
from connector.dialects.base import (
    BotAudio,
    BotClear,
    BotMark,
    BotReply,
    Dialect,
    StopReason,
    StreamStart,
    Track,
    Upgrade,
    WireMessage,
)
from connector.dialects.commands import FunctionResult, Hold, Quality, Reconnected, Transferred, TransferState

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dialects"
PARAMETERS = {"from": "+4930111", "fromName": "Ana Müller", "to": "+4930222", "language": "de", "plan": 'gold "A"'}
READY: dict[str, list[Any]] = {
    "audiohook": [
        {
            "version": "2",
            "type": "opened",
            "seq": 1,
            "parameters": {"media": [{"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}]},
        }
    ],
    "openai-realtime": [{"type": "session.created"}, {"type": "session.updated"}],
}
"""What the bot says for the handshake of a dialect."""
OPTIONS: dict[str, dict[str, Any]] = {
    "openai-realtime": {
        "api_key": "sk-1",
        "model": "gpt-realtime",
        "greeting": "Greet {fromName}.",
        "transfer_targets": ("queue:support",),
    },
    "audiohook": {"api_key": "key", "client_secret": "c2VjcmV0"},
    "exotel": {"rate_hz": 16000},
}


def start(**changes: Any) -> StreamStart:
    """A stream for the conversation."""
    return StreamStart(
        **{"stream_id": "stream-1", "call_id": "main:1700000000.42", "parameters": PARAMETERS, **changes}
    )


def new(name: str, options: dict[str, Any] | None = None, **changes: Any) -> Dialect:
    """A dialect with the options of the conversation."""
    return registry.create(name, start(**changes), OPTIONS.get(name, {}) if options is None else options)


def ready(name: str, options: dict[str, Any] | None = None, **changes: Any) -> Dialect:
    """A dialect whose bot has agreed, opened."""
    dialect = new(name, options, **changes)
    dialect.upgrade(Upgrade("wss://bot.example/x"), unix_s=1_700_000_000.0, nonce="n")
    dialect.connected()
    for message in READY.get(name, ()):
        dialect.decode(json.dumps(message))
    assert dialect.ready
    dialect.opened()
    return dialect


def frame(dialect: Dialect, options: dict[str, Any], seed: int = 0) -> bytes:
    """20 ms of audio as the dialect wants it."""
    shape = dialect.options_type.model_validate(options).to_bot
    assert shape.encoding in (Encoding.PCMU, Encoding.PCMA, Encoding.L16)
    return bytes((n * 7 + seed) % 256 for n in range(shape.frame_bytes))


def shown(message: WireMessage) -> Any:
    """A message as JSON may hold it."""
    if isinstance(message, bytes):
        return {"binary": base64.b64encode(message[:12]).decode(), "bytes": len(message)}
    return json.loads(message)


def conversation(name: str) -> dict[str, Any]:
    """Everything that a dialect sends, by stage."""
    options = OPTIONS.get(name, {})
    dialect = new(name)
    upgrade = dialect.upgrade(
        Upgrade("wss://bot.example/media?key=1", {"X-Own": "yes"}), unix_s=1_700_000_000.0, nonce="nonce"
    )
    stages: dict[str, list[WireMessage]] = {"connected": dialect.connected()}
    for message in READY.get(name, ()):
        dialect.decode(json.dumps(message))
    stages["opened"] = dialect.opened()
    audio = [dialect.audio(frame(dialect, options, n), 20 * n) for n in range(6)]
    stages["audio"] = [each for each in audio if each is not None][:3]
    stages["dtmf"] = [each for each in (dialect.dtmf("5"),) if each is not None]
    said = dialect.decode(json.dumps({"event": "checkpoint", "name": "m"})) if name == "plivo" else ()
    assert all(isinstance(each, BotAudio | BotMark | BotClear | BotReply) for each in said)
    stages["mark_played"] = [each for each in (dialect.mark_played('{"id":1}'),) if each is not None]
    stages["cleared"] = dialect.cleared(1_500)
    for notice in (
        Hold(held=True),
        Transferred(TransferState.FAILED, "queue:support", "busy"),
        Quality(0.5, 3.25, 4.2),
        Reconnected(320),
        FunctionResult("call_1", '{"ok":true}'),
    ):
        stages[f"notify {type(notice).__name__}"] = dialect.notify(notice)
    stages["heartbeat"] = [m for each in dialect.heartbeat() if isinstance(each, BotReply) for m in each.messages]
    stages["closing"] = dialect.closing(StopReason.CALLER_HUNG_UP)
    return {
        "upgrade": {"url": upgrade.url, "headers": upgrade.headers, "subprotocols": list(upgrade.subprotocols)},
        **{stage: [shown(each) for each in messages] for stage, messages in stages.items() if messages},
    }


def two_tracks(name: str) -> Dialect:
    """A dialect that listens to both sides of a call."""
    return new(name, tracks=(Track.CALLER, Track.AGENT), two_way=False)


def write() -> None:
    """Writes the golden files."""
    for name in registry.DIALECTS:
        text = json.dumps(conversation(name), indent=1, ensure_ascii=False, sort_keys=False)
        (FIXTURES / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    write()
