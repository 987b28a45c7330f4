"""What the media worker is told to open a stream: the same for a call with a bot and for a tap."""

from __future__ import annotations

from connector.audio.wire import PLAIN
from connector.config import MediaSettings, ProfileSettings
from connector.dialects.base import Track
from connector.media.control import OpenStream
from connector.media.recorder import RecordTo
from connector.media.voice import VoiceOptions


def open_message(
    profile: ProfileSettings,
    media: MediaSettings,
    *,
    stream_id: str,
    pbx: str,
    call_id: str,
    parameters: dict[str, str],
    tracks: tuple[Track, ...] = (Track.CALLER,),
    two_way: bool = True,
    audio: str = PLAIN.name,
    record: RecordTo | None = None,
) -> OpenStream:
    """The request as the settings say; address, credentials and reach are put in by whoever dials."""
    return OpenStream(
        stream_id=stream_id,
        pbx=pbx,
        call_id=call_id,
        url=profile.url,
        dialect=profile.dialect.name,
        dialect_options=profile.dialect.plain(),
        tracks=tracks,
        two_way=two_way,
        parameters=parameters,
        headers={},
        connect_timeout_ms=profile.connect_timeout_ms,
        playout_max_ms=profile.playout.max_ms or media.playout_max_ms,
        prebuffer_ms=media.prebuffer_ms,
        max_message_bytes=profile.max_message_bytes,
        audio=audio,
        reorder_max_ms=profile.reorder_max_ms,
        conceal_loss=profile.conceal_loss,
        drop_oldest=profile.playout.when_full == "drop_oldest",
        return_cleared=profile.playout.cleared_marks == "return",
        send_silence=profile.playout.idle == "silence",
        voice=VoiceOptions(
            gain_db=profile.playout.gain_db,
            fade_ms=profile.playout.fade_ms,
            ambiance=str(profile.playout.ambiance_file or ""),
            ambiance_db=profile.playout.ambiance_db,
            duck_db=profile.playout.duck_db,
        ),
        record=record,
    )
