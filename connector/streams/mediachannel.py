"""Asterisk's end of a stream: the channel that brings a call's audio to the worker, by whichever transport."""

from __future__ import annotations

from uuid import uuid4

from connector.asterisk.ari import Ari
from connector.audio.wire import Transport, Wire
from connector.media.control import Address, AudioSocketPeer, Remote, WebSocketPeer


async def open_media_channel(
    ari: Ari, wire: Wire, *, channel_id: str, ours: str, rtp_host: str, tls_ca_file: str = ""
) -> Remote:
    """Makes the channel. It may be bridged after its own StasisStart, not before.

    Args:
        ari: Of the PBX.
        wire: How audio is to go.
        channel_id: Chosen by us, see `connector.asterisk.ids`.
        ours: `address:port` of the worker, UDP for RTP and TCP for AudioSocket.
        rtp_host: Where we reach Asterisk's RTP; empty: what Asterisk says.
        tls_ca_file: Of Asterisk's HTTP server, for WebSockets to it.

    Returns:
        What the stream is to be attached to.

    Raises:
        AriError: Asterisk did not make it.
    """
    match wire.transport:
        case Transport.RTP:
            media = await ari.external_media(channel_id, external_host=ours, format=wire.codec)
            return Address(rtp_host or media.local_host, media.local_port)
        case Transport.AUDIOSOCKET:
            uuid = uuid4()
            await ari.audio_socket(channel_id, external_host=ours, format=wire.codec, uuid=str(uuid))
            return AudioSocketPeer(uuid.hex)
        case Transport.WEBSOCKET:
            url = await ari.media_websocket(channel_id, format=wire.codec)
            return WebSocketPeer(url, tls_ca_file)
