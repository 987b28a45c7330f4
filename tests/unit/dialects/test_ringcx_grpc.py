"""RingCX over gRPC: what its messages hold, as another reader of the same table reads them."""

from __future__ import annotations

from typing import Any

import pytest

from connector.config_profiles import ProfileSettings
from connector.dialects import registry
from connector.dialects.base import StopReason, StreamStart, Track
from connector.dialects.commands import Hold, Reconnected
from connector.dialects.ringcx_events import stream_event

START = StreamStart(
    stream_id="s1",
    call_id="main:1.1",
    parameters={"from": "+491", "to": "100", "agent": "PJSIP/anna", "queue": "support", "plan": "gold"},
    tracks=(Track.AGENT, Track.CALLER),
    two_way=False,
)


def read(messages: list[Any]) -> list[Any]:
    return [stream_event().FromString(message) for message in messages]


def test_a_dialog_from_its_beginning_to_its_end() -> None:
    dialect = registry.create("ringcx-grpc", START, {"account_id": "7", "subaccount_id": "8"})
    init, agent, contact = read(dialect.opened())
    assert (init.dialog_init.account.id, init.dialog_init.account.sub_account_id) == ("7", "8")
    dialog = init.dialog_init.dialog
    assert (dialog.type, dialog.ani, dialog.dnis, dict(dialog.attributes)) == (1, "+491", "100", {"plan": "gold"})
    assert not dialog.HasField("language")
    starts = [agent.segment_start, contact.segment_start]
    assert [(each.participant.type, each.participant.id) for each in starts] == [(2, "PJSIP/anna"), (1, "+491")]
    assert {(each.audio_format.codec, each.audio_format.rate, each.audio_format.ptime) for each in starts} == {
        (3, 8000, 100)
    }
    assert {(each.product.id, each.product.type) for each in starts} == {("support", 1)}

    sent = [dialect.audio(bytes([n]) * 160, 20 * n, track) for n in range(12) for track in (Track.AGENT, Track.CALLER)]
    media = [each.segment_media for each in read([each for each in sent if each is not None])]
    ids = [each.segment_id for each in starts]
    assert [(ids.index(each.segment_id), each.audio_content.seq, each.audio_content.duration) for each in media] == [
        (0, 1, 100),
        (1, 1, 100),
        (0, 2, 100),
        (1, 2, 100),
    ]
    assert {len(each.audio_content.payload) for each in media} == {800}

    [held] = read(dialect.notify(Hold(True)))
    assert (held.segment_info.segment_id, held.segment_info.event) == (ids[1], "hold")
    assert dialect.notify(Reconnected(gap_ms=1)) == []

    last = read(dialect.closing(StopReason.CALLER_HUNG_UP))
    assert [each.WhichOneof("event") for each in last] == ["segment_media", "segment_stop"] * 2
    assert {each.segment_media.audio_content.duration for each in last[::2]} == {40}


def test_the_address_and_the_dialect_belong_together() -> None:
    made = ProfileSettings.model_validate({"url": "grpc://server.example:443", "dialect": "ringcx-grpc"})
    assert made.is_grpc
    for url, dialect in (("grpc://server.example", "twilio"), ("wss://server.example", "ringcx-grpc")):
        with pytest.raises(ValueError, match="if, and only if"):
            ProfileSettings.model_validate({"url": url, "dialect": dialect})
