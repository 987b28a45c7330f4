"""ARI's requests, typed: one method per request that the connector makes, each with a deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from connector.asterisk.ari_errors import AriBadAnswer, AriUnsafeSubscription
from connector.asterisk.ari_http import AriHttp
from connector.asterisk.ari_models import (
    Application,
    AsteriskInfo,
    Bridge,
    Channel,
    Endpoint,
    Module,
    RTPstat,
    Variable,
)

SAFE_SOURCES = ("channel:", "bridge:", "endpoint:")


@dataclass(frozen=True, slots=True)
class ExternalMedia:
    """A new ExternalMedia channel, and the UDP address where Asterisk awaits its audio."""

    channel: Channel
    local_host: str
    local_port: int


class AriRest(AriHttp):
    """Requests to the ARI of one PBX. Use as `async with`, which holds the keep-alive connections."""

    # -- the PBX ----------------------------------------------------------------------------------------------

    async def info(self) -> AsteriskInfo:
        """Version and start time."""
        return await self._get("/asterisk/info", AsteriskInfo)

    async def endpoints(self) -> list[Endpoint]:
        """All endpoints of the PBX."""
        return await self._get("/endpoints", list[Endpoint])

    async def modules(self) -> list[Module]:
        """All modules."""
        return await self._get("/asterisk/modules", list[Module])

    async def module(self, name: str) -> Module:
        """One module, for example chan_rtp.so; AriNotFound if Asterisk does not have it loaded."""
        return await self._get(f"/asterisk/modules/{_part(name)}", Module)

    async def applications(self) -> list[Application]:
        """All Stasis applications."""
        return await self._get("/applications", list[Application])

    async def application(self, name: str | None = None) -> Application:
        """One Stasis application, ours by default; AriNotFound while nobody listens to its events."""
        return await self._get(f"/applications/{_part(name or self.app)}", Application)

    async def subscribe(self, sources: Sequence[str]) -> Application:
        """Lets our application hear of channels, bridges or endpoints that are not in it.

        Args:
            sources: Such as `channel:1700000000.12`.

        Raises:
            AriUnsafeSubscription: Another kind of source.
        """
        return await self._subscription("POST", sources)

    async def unsubscribe(self, sources: Sequence[str]) -> Application:
        """Undoes `subscribe`."""
        return await self._subscription("DELETE", sources)

    async def _subscription(self, method: str, sources: Sequence[str]) -> Application:
        path = f"/applications/{_part(self.app)}/subscription"
        for source in sources:
            if not source.startswith(SAFE_SOURCES) or "," in source:
                raise AriUnsafeSubscription(method, path, None, f"{source!r} was not sent")
        return await self._ask(method, path, Application, eventSource=",".join(sources))

    # -- channels ---------------------------------------------------------------------------------------------

    async def channels(self) -> list[Channel]:
        """All channels of the PBX."""
        return await self._get("/channels", list[Channel])

    async def channel(self, channel_id: str) -> Channel:
        """One channel."""
        return await self._get(_channel(channel_id), Channel)

    async def answer(self, channel_id: str) -> None:
        """Answers; takes up to 200 ms on 16."""
        await self._do("POST", _channel(channel_id, "/answer"))

    async def hangup(self, channel_id: str, *, reason: str | None = None, missing_ok: bool = False) -> None:
        """Hangs up.

        Args:
            channel_id: The channel.
            reason: normal, busy, congestion or no_answer.
            missing_ok: Whether a channel that is gone already is success.
        """
        await self._do("DELETE", _channel(channel_id), missing_ok, reason=reason)

    async def continue_in_dialplan(
        self,
        channel_id: str,
        *,
        context: str | None = None,
        extension: str | None = None,
        priority: int | None = None,
    ) -> None:
        """Lets a channel leave Stasis: for the next priority, or for where it is told."""
        await self._do(
            "POST", _channel(channel_id, "/continue"), context=context, extension=extension, priority=priority
        )

    async def get_variable(self, channel_id: str, variable: str) -> str:
        """Value of a variable or function, also of a channel outside Stasis.

        Raises:
            AriNotFound: The variable is unset, or there is no such channel.
            AriServerError: A function such as PJSIP_HEADER has no value.
        """
        found = await self._get(_channel(channel_id, "/variable"), Variable, variable=variable)
        return found.value

    async def set_variable(self, channel_id: str, variable: str, value: str) -> None:
        """Sets a variable or function of a channel in Stasis.

        In the body, not in the address: Asterisk reads 4096 bytes of that.
        """
        await self._request("POST", _channel(channel_id, "/variable"), {"variable": variable, "value": value}, {})

    async def send_dtmf(self, channel_id: str, digits: str) -> None:
        """Plays digits to the phone of this channel."""
        await self._do("POST", _channel(channel_id, "/dtmf"), dtmf=digits)

    async def start_silence(self, channel_id: str) -> None:
        """Sends silence to the phone while nothing else plays."""
        await self._do("POST", _channel(channel_id, "/silence"))

    async def stop_silence(self, channel_id: str) -> None:
        """Undoes `start_silence`."""
        await self._do("DELETE", _channel(channel_id, "/silence"))

    async def external_media(
        self,
        channel_id: str,
        *,
        external_host: str,
        format: str,  # noqa: A002 (as ARI calls it)
        variables: Mapping[str, str] | None = None,
    ) -> ExternalMedia:
        """Makes a channel that exchanges RTP with us. It may be bridged after its own StasisStart, not before.

        Args:
            channel_id: Chosen by us, see `connector.asterisk.ids`.
            external_host: Our `address:port`, an IP literal.
            format: What Asterisk sends. Back it takes ulaw, alaw and g722 whatever this says.
            variables: Channel variables.
        """
        path = "/channels/externalMedia"
        channel = await self._ask(
            "POST",
            path,
            Channel,
            {"variables": dict(variables)} if variables else None,
            channelId=channel_id,
            app=self.app,
            external_host=external_host,
            format=format,
        )
        host = channel.channelvars.get("UNICASTRTP_LOCAL_ADDRESS")
        port = channel.channelvars.get("UNICASTRTP_LOCAL_PORT")
        if not isinstance(host, str) or not isinstance(port, str) or not port.isdecimal():
            raise AriBadAnswer("POST", path, 200, "no address of the RTP that Asterisk awaits")
        return ExternalMedia(channel, host, int(port))

    async def audio_socket(self, channel_id: str, *, external_host: str, format: str, uuid: str) -> Channel:  # noqa: A002
        """Makes a channel that dials us over TCP with the AudioSocket protocol, before it answers.

        Args:
            channel_id: Chosen by us, see `connector.asterisk.ids`.
            external_host: Our `address:port`, an IP literal.
            format: slin, slin16, slin48.
            uuid: What it names the stream by, in the usual form.

        Raises:
            AriError: Asterisk could not connect, or has no chan_audiosocket.
        """
        return await self._ask(
            "POST",
            "/channels/externalMedia",
            Channel,
            channelId=channel_id,
            app=self.app,
            external_host=external_host,
            transport="tcp",
            encapsulation="audiosocket",
            format=format,
            data=uuid,
        )

    async def media_websocket(self, channel_id: str, *, format: str) -> str:  # noqa: A002 (as ARI calls it)
        """Makes a channel that awaits our WebSocket; its StasisStart comes when that is open.

        Args:
            channel_id: Chosen by us, see `connector.asterisk.ids`.
            format: For both ways.

        Returns:
            Where to connect to. Whoever knows it may.

        Raises:
            AriError: Asterisk has no chan_websocket.
        """
        path = "/channels/externalMedia"
        channel = await self._ask(
            "POST",
            path,
            Channel,
            channelId=channel_id,
            app=self.app,
            external_host="INCOMING",
            transport="websocket",
            encapsulation="none",
            connection_type="server",
            format=format,
        )
        connection = channel.channelvars.get("MEDIA_WEBSOCKET_CONNECTION_ID")
        if not isinstance(connection, str) or not connection:
            raise AriBadAnswer("POST", path, 200, "no id of the connection that Asterisk awaits")
        return f"{self._url.removesuffix('/ari').replace('http', 'ws', 1)}/media/{connection}"

    async def snoop(self, channel_id: str, snoop_id: str, *, spy: str, whisper: str = "none") -> Channel:
        """Makes a channel that listens to another one, wherever that is, and ends with it.

        Args:
            channel_id: The channel to listen to.
            snoop_id: Chosen by us, see `connector.asterisk.ids`.
            spy: in (what the channel says), out (what it hears), both (mixed) or none.
            whisper: Which of them hears what is put into the new channel, in the same words.

        Raises:
            AriNotFound: There is no such channel.
        """
        path = _channel(channel_id, f"/snoop/{_part(snoop_id)}")
        return await self._ask("POST", path, Channel, spy=spy, whisper=whisper, app=self.app)

    async def originate(
        self,
        channel_id: str,
        *,
        endpoint: str,
        context: str,
        exten: str,
        caller_id: str,
        timeout_s: int,
        variables: Mapping[str, str],
        formats: str = "",
    ) -> Channel:
        """Rings an endpoint and sends it into the dialplan when it answers.

        Args:
            channel_id: Chosen by us.
            endpoint: Technology and resource, such as PJSIP/boss.
            context: Of the dialplan.
            exten: Of the dialplan; priority 1.
            caller_id: As the phone shows it: `"name" <number>`.
            timeout_s: How long it rings.
            variables: Of the channel.
            formats: Codecs of the channel; empty for any. A Local channel then gets slin192, and what is resampled to
                that and back loses 6 dB (16.28 and 22.10).
        """
        wanted = {"formats": formats} if formats else {}
        return await self._ask(
            "POST",
            "/channels",
            Channel,
            {"variables": dict(variables)},
            channelId=channel_id,
            endpoint=endpoint,
            context=context,
            extension=exten,
            priority=1,
            callerId=caller_id,
            timeout=timeout_s,
            **wanted,
        )

    async def send_message(self, technology: str, resource: str, *, sender: str, text: str) -> None:
        """Sends a text to an endpoint, by SIP MESSAGE where that is PJSIP.

        Args:
            technology: Such as PJSIP.
            resource: Name of the endpoint.
            sender: URI that it is from.
            text: What.
        """
        path = f"/endpoints/{_part(technology)}/{_part(resource)}/sendMessage"
        await self._request("PUT", path, None, {"from": sender, "body": text})

    async def rtp_statistics(self, channel_id: str) -> RTPstat:
        """What Asterisk counted of the RTP of a channel that has it: phones and trunks, not ExternalMedia.

        Raises:
            AriNotFound: There is no such channel, or it has no RTP that Asterisk counts.
        """
        return await self._get(_channel(channel_id, "/rtp_statistics"), RTPstat)

    # -- bridges ----------------------------------------------------------------------------------------------

    async def bridges(self) -> list[Bridge]:
        """All bridges of the PBX."""
        return await self._get("/bridges", list[Bridge])

    async def create_bridge(
        self,
        bridge_id: str,
        *,
        type: str = "mixing",  # noqa: A002 (as ARI calls it)
        name: str | None = None,
    ) -> Bridge:
        """Makes a bridge whose id we chose."""
        return await self._ask("POST", "/bridges", Bridge, bridgeId=bridge_id, type=type, name=name)

    async def add_channel(self, bridge_id: str, channels: Sequence[str]) -> None:
        """Puts channels into a bridge; AriNotInStasis where one has not had its StasisStart."""
        await self._do("POST", _bridge(bridge_id, "/addChannel"), channel=",".join(channels))

    async def remove_channel(self, bridge_id: str, channels: Sequence[str]) -> None:
        """Takes channels out of a bridge."""
        await self._do("POST", _bridge(bridge_id, "/removeChannel"), channel=",".join(channels))

    async def start_bridge_music(self, bridge_id: str) -> None:
        """Plays music on hold to all channels of a bridge."""
        await self._do("POST", _bridge(bridge_id, "/moh"))

    async def stop_bridge_music(self, bridge_id: str) -> None:
        """Ends the music on hold of a bridge."""
        await self._do("DELETE", _bridge(bridge_id, "/moh"))

    async def delete_bridge(self, bridge_id: str, *, missing_ok: bool = False) -> None:
        """Ends a bridge; its channels stay in Stasis."""
        await self._do("DELETE", _bridge(bridge_id), missing_ok)


def _part(text: str) -> str:
    return quote(text, safe="")


def _channel(channel_id: str, what: str = "") -> str:
    return f"/channels/{_part(channel_id)}{what}"


def _bridge(bridge_id: str, what: str = "") -> str:
    return f"/bridges/{_part(bridge_id)}{what}"
