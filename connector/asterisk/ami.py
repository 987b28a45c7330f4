"""The manager interface of one PBX: stays connected, delivers events and lists in order, sends actions."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from random import Random

import structlog
from pydantic import SecretStr

from connector.asterisk.ami_client import AmiClient
from connector.asterisk.ami_model import (
    AmiActionRejected,
    AmiConnected,
    AmiCounter,
    AmiError,
    AmiItem,
    AmiLimits,
    AmiLost,
    AmiNotConnected,
    AmiOutcomeUnknown,
    AmiOverflow,
    AmiRefused,
    AmiTimeout,
    Response,
)
from connector.asterisk.ami_wire import Value, check_action
from connector.asterisk.backoff import backoff
from connector.asterisk.inbox import Inbox
from connector.events import LinkState

log = structlog.get_logger()


class Ami:
    """One AMI account of one PBX.

    `run` owns the connection. What comes out of it stands in `items`, in the order of Asterisk's byte stream, for one
    consumer, which asks for the lists it needs after each AmiConnected and AmiOverflow.

    Args:
        pbx: Name of the PBX in the settings, for logs.
        host: Name or address.
        port: 5038 by default in Asterisk, 5039 with TLS.
        username: Section of manager.conf.
        secret: Its secret.
        clock: Seconds since the epoch.
        monotonic: Seconds that never go back.
        random: Source of the jitter between tries.
        tls: How to check the PBX's certificate, None for plain TCP.
        event_classes: Privilege classes of the events wanted, for example `agent,call,dialplan`; `on` for all that the
            account may read.
        limits: Bounds and intervals.
        capture: Gets every segment as it came; for fixtures.
        sleep: Waits between tries.

    Raises:
        AmiBadValue: Username or secret cannot be sent.
    """

    def __init__(
        self,
        *,
        pbx: str,
        host: str,
        port: int,
        username: str,
        secret: SecretStr,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Random,
        tls: ssl.SSLContext | None = None,
        event_classes: str = "on",
        limits: AmiLimits | None = None,
        capture: Callable[[bytes], object] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._host = host
        self._port = port
        self._username = username
        self._secret = secret
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._tls = tls
        self.certificate_expires_at: float | None = None
        """End of the PBX's certificate as shown at the last connection, seconds since the epoch; None without TLS."""
        self._event_classes = event_classes
        self._limits = limits or AmiLimits()
        self._capture = capture
        self._sleep = sleep
        self._client: AmiClient | None = None
        self._log = log.bind(pbx=pbx, host=host, port=port)
        self._reported: LinkState | None = None
        self._login_headers()
        self.counters: dict[AmiCounter, int] = dict.fromkeys(AmiCounter, 0)
        """Totals since the start, by cause."""
        self.items: Inbox[AmiItem] = Inbox(self._limits.max_waiting, AmiOverflow)
        """Everything that happens, in order, for one consumer."""

    @property
    def state(self) -> LinkState:
        """How the connection stands now; the consumer of `items` may be behind."""
        return self._reported or LinkState.DOWN

    # -- actions ----------------------------------------------------------------------------------------------

    async def action(self, name: str, /, deadline_s: float = 5.0, **fields: Value) -> Response:
        """Sends one action, once.

        Args:
            name: For example QueuePause.
            deadline_s: For Asterisk's response.
            fields: Headers; a list becomes a repeated header.

        Returns:
            Asterisk's consent. That it happened is told by the event that follows.

        Raises:
            AmiBadValue: A value cannot be sent; nothing was.
            AmiNotConnected: Nothing was sent.
            AmiBusy: Nothing was sent.
            AmiOutcomeUnknown: It was sent and not answered (AmiTimeout, AmiConnectionLost). It is never sent again.
            AmiActionRejected: Asterisk refused it; PermissionDenied where the account lacks the right.
        """
        headers = check_action(name, fields)
        return await self._connected(name).request(headers, deadline_s)

    async def request_list(self, name: str, /, deadline_s: float = 30.0, **fields: Value) -> None:
        """Asks for a list (QueueStatus, CoreShowChannels); returns once it stands in `items` as an AmiList.

        Where the consumer is too slow it may be dropped like an event; an AmiOverflow tells so.

        Args:
            name: The list action.
            deadline_s: For the whole list.
            fields: Headers.

        Raises:
            AmiListTooLong: More items than `AmiLimits.max_list_items`.
            AmiError: As for `action`.
        """
        headers = check_action(name, fields)
        await self._connected(name).request_list(headers, deadline_s)

    def _connected(self, action: str) -> AmiClient:
        if self._client is None:
            raise AmiNotConnected(action, f"there is no connection to {self._host}:{self._port}; nothing was sent")
        return self._client

    # -- the connection ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the connection until cancelled: network faults are tried again with backoff, a refusal slowly."""
        limits = self._limits
        delays = backoff(self._random, base_s=limits.backoff_base_s, cap_s=limits.backoff_cap_s)
        while True:
            started = self._monotonic()
            state, reason = await self._connect_once()
            if state is LinkState.REFUSED:
                self.counters[AmiCounter.REFUSED] += 1
                self._report(state, AmiRefused(reason), reason)
                # Asterisk and fail2ban count failed logins, so this is no matter for a quick retry.
                await self._sleep(limits.refused_retry_s)
                continue
            self.counters[AmiCounter.LOST] += 1
            self._report(state, AmiLost(reason), reason)
            if self._monotonic() - started >= limits.stable_s:
                delays = backoff(self._random, base_s=limits.backoff_base_s, cap_s=limits.backoff_cap_s)
            await self._sleep(next(delays))

    async def _connect_once(self) -> tuple[LinkState, str]:
        """One connection from TCP to its end; returns what became of it and why."""
        client = AmiClient(
            inbox=self.items,
            counters=self.counters,
            limits=self._limits,
            clock=self._clock,
            capture=self._capture,
        )

        def connected() -> None:
            self._client = client
            self.counters[AmiCounter.CONNECTED] += 1
            self._report(LinkState.UP, AmiConnected(banner), banner)

        try:
            async with asyncio.timeout(self._limits.connect_s):
                banner = await client.open(self._host, self._port, self._tls)
            self.certificate_expires_at = client.certificate_expires_at
            await client.login(self._login_headers(), connected)
            return LinkState.DOWN, await self._watch(client)
        except TimeoutError:
            return LinkState.DOWN, f"no AMI banner within {self._limits.connect_s:g} s: check host, port and TLS"
        except ssl.SSLCertVerificationError as error:
            return LinkState.REFUSED, f"the certificate is not trusted ({error.verify_message}): check the CA and name"
        except OSError as error:
            return LinkState.DOWN, f"cannot connect: {error}"
        except AmiActionRejected as error:
            return LinkState.REFUSED, (
                f"Asterisk refused the login of {self._username!r} ({error.message}): "
                "check user, secret, permit and deny in manager.conf"
            )
        except (AmiOutcomeUnknown, AmiNotConnected) as error:
            return LinkState.DOWN, str(error)
        finally:
            self._client = None
            await client.close()

    async def _watch(self, client: AmiClient) -> str:
        """Pings until the connection is of no more use; returns why. TCP alone notices a dead peer after minutes."""
        limits = self._limits
        while True:
            await asyncio.wait({client.lost}, timeout=limits.ping_interval_s)
            if client.lost.done():
                return client.lost.result()
            try:
                await client.request({"Action": "Ping"}, limits.ping_deadline_s)
            except AmiTimeout:
                return f"no answer to Ping within {limits.ping_deadline_s:g} s"
            except AmiError:
                pass  # rejected is an answer too, busy ends by the deadlines of the others, lost ends above

    def _login_headers(self) -> dict[str, Value]:
        return check_action(
            "Login",
            {"Username": self._username, "Secret": self._secret.get_secret_value(), "Events": self._event_classes},
        )

    def _report(self, state: LinkState, item: AmiItem, detail: str) -> None:
        """Tells a change of state once, not each try."""
        if state is self._reported:
            return
        self._reported = state
        self.items.put_state(item)
        tell = self._log.info if state is LinkState.UP else self._log.warning
        tell(f"ami_{state}", detail=detail)
