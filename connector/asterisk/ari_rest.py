"""ARI's requests, typed: one method per request that the connector makes, each with a deadline."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from pydantic import SecretStr
from yarl import URL

from connector.asterisk.ari_errors import (
    AriBadAnswer,
    AriNotFound,
    AriTimeout,
    AriUnreachable,
    AriUnsafeSubscription,
    error_of,
)
from connector.asterisk.ari_models import Application, AsteriskInfo, Bridge, Channel, Endpoint, Module, Variable

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bound of one answer; a channel is about 700 bytes."""

MAX_CONNECTIONS = 32
"""To one PBX; http.conf's sessionlimit is 100 by default, for all clients together."""

KEEPALIVE_S = 10.0
"""Asterisk closes an idle connection after 15 s (session_keep_alive); a POST that meets the closing is lost."""

SAFE_SOURCES = ("channel:", "bridge:", "endpoint:")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ExternalMedia:
    """A new ExternalMedia channel, and the UDP address where Asterisk awaits its audio."""

    channel: Channel
    local_host: str
    local_port: int


class AriRest:
    """Requests to the ARI of one PBX. Use as `async with`, which holds the keep-alive connections.

    Args:
        url: `http://host:8088/ari`; a prefix of http.conf goes before `/ari`.
        username: Section of ari.conf.
        password: Its password.
        app: Our Stasis application.
        deadline_s: For each request, connection included.
        tls: How to check an https address, None for Python's defaults.
    """

    def __init__(
        self,
        *,
        url: str,
        username: str,
        password: SecretStr,
        app: str,
        deadline_s: float = 2.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.app = app
        self._url = url.rstrip("/")
        self._username = username
        self._password = password
        self._deadline_s = deadline_s
        self._tls: ssl.SSLContext | bool = tls if tls is not None else True
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            headers={"Authorization": self._basic_auth()},
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None),  # each request brings its own
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

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
        """Sets a variable or function of a channel in Stasis."""
        await self._do("POST", _channel(channel_id, "/variable"), variable=variable, value=value)

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

    async def delete_bridge(self, bridge_id: str, *, missing_ok: bool = False) -> None:
        """Ends a bridge; its channels stay in Stasis."""
        await self._do("DELETE", _bridge(bridge_id), missing_ok)

    # -- HTTP -------------------------------------------------------------------------------------------------

    async def _get(self, path: str, kind: type[T], **query: str | int | None) -> T:
        return await self._ask("GET", path, kind, **query)

    async def _do(self, method: str, path: str, missing_ok: bool = False, **query: str | int | None) -> None:
        try:
            await self._request(method, path, None, query)
        except AriNotFound:
            if not missing_ok:
                raise

    async def _ask(self, method: str, path: str, kind: type[T], body: object = None, **query: str | int | None) -> T:
        raw = await self._request(method, path, body, query)
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise AriBadAnswer(method, path, 200, f"the answer cannot be read ({error})") from None

    async def _request(self, method: str, path: str, body: object, query: Mapping[str, Any]) -> bytes:
        try:
            async with self._session.request(
                method,
                URL(self._url + path, encoded=True),
                params={key: value for key, value in query.items() if value is not None},
                json=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._deadline_s),
            ) as answer:
                raw = await _read(answer)
        except TimeoutError:
            raise AriTimeout(method, path, None, f"no answer within {self._deadline_s:g} s") from None
        except aiohttp.ClientError as error:
            raise AriUnreachable(method, path, None, f"{error or type(error).__name__}") from None
        if raw is None:
            raise AriBadAnswer(method, path, answer.status, f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        if answer.status >= 400:
            raise error_of(answer.status)(method, path, answer.status, _words(raw) or str(answer.reason))
        if answer.status >= 300:
            raise AriBadAnswer(method, path, answer.status, "a redirection")
        return raw

    def _basic_auth(self) -> str:
        """RFC 7617; in a header, because Asterisk would log a key in the address."""
        pair = f"{self._username}:{self._password.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("use Ari as `async with`")
        return self._http


async def _read(answer: aiohttp.ClientResponse) -> bytes | None:
    """The body; None where it is too long."""
    raw = bytearray()
    async for chunk in answer.content.iter_any():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            answer.close()
            return None
    return bytes(raw)


class _Words(msgspec.Struct):
    """The body of an error: `message`, or `error` where no handler was found."""

    message: str = ""
    error: str = ""


def _words(raw: bytes) -> str:
    try:
        said = msgspec.json.decode(raw, type=_Words)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return (said.message or said.error)[:200]


def _part(text: str) -> str:
    return quote(text, safe="")


def _channel(channel_id: str, what: str = "") -> str:
    return f"/channels/{_part(channel_id)}{what}"


def _bridge(bridge_id: str, what: str = "") -> str:
    return f"/bridges/{_part(bridge_id)}{what}"
