"""Steps of a call in which nothing is streamed: a server is told by HTTP, or asked whom to call. One PBX's.

A step is as short as its request. Asterisk dials, in the context `connector-connect`, and sends the call here again
after each attempt. Whatever goes wrong, the call goes on in the dialplan.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from connector.asterisk.ari import Ari, AriError
from connector.asterisk.ari_models import Channel
from connector.config import ProfileSettings
from connector.config_profiles import Mode
from connector.config_targets import parse_target
from connector.media.engine import StreamFailed
from connector.net.fetch import Fetched, FetchFailed
from connector.streams.book import ProfileBook
from connector.streams.connect import BadPlan, Plan, read_plan
from connector.streams.dialling import Dialler
from connector.streams.facts import DIALLED_NUMBER
from connector.streams.handover import Handover, Place, variables
from connector.streams.leaving import RESULT_VARIABLE, hand_back, send_on
from connector.streams.passthru import CallData, StreamData, body, call_parameters, query, target_after
from connector.telemetry.metrics import StreamCounters

log = structlog.get_logger()

CONNECTS_MAX = 10_000
"""Calls that are being connected; of those that nobody sent back the oldest is forgotten."""
EXOTEL_VERSION = {"Exotel-Version": "1.0"}
STATUSES = ("busy", "noanswer", "cancel", "congestion", "chanunavail")
"""Of DIALSTATUS, in lower case, what is told apart of attempts that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call that has come to a step.

    Attributes:
        channel: The caller's.
        name: Of the profile.
        profile: Its settings.
        place: Where it came from.
        direction: As the live state has it.
        given: Arguments of Stasis().
        left: Set when the caller has.
        before: Gives the stream that the call had before.
    """

    channel: Channel
    name: str
    profile: ProfileSettings
    place: Place
    direction: str
    given: Mapping[str, str]
    left: asyncio.Event
    before: Callable[[], Coroutine[Any, Any, StreamData | None]]


@dataclass(slots=True)
class _Connecting:
    """A call that Asterisk is connecting.

    Attributes:
        place: Where it came from, and goes back to.
        attempts: Still to be made.
        plan: Of the server's last answer.
        fetches: How often it was asked.
        dialling: What is being dialled.
        began_at: Unix time of that attempt.
    """

    place: Place
    plan: Plan
    attempts: list[str]
    fetches: int
    dialling: str = ""
    began_at: float = 0.0


class Steps:
    """Takes the calls of one PBX through steps.

    Args:
        pbx: Name of the PBX.
        app: Our Stasis application.
        ari: Of the PBX.
        book: The profiles.
        dialler: Makes requests as profiles say.
        counters: Counts how steps end.
        clock: Seconds since the epoch.
        start: Owns a task.
    """

    def __init__(
        self,
        *,
        pbx: str,
        app: str,
        ari: Ari,
        book: ProfileBook,
        dialler: Dialler,
        counters: StreamCounters,
        clock: Callable[[], float],
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._pbx, self._app = pbx, app
        self._ari, self._book, self._dialler = ari, book, dialler
        self._counters, self._clock, self._start = counters, clock, start
        self._connecting: OrderedDict[str, _Connecting] = OrderedDict()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Lets calls go on in the dialplan at once."""
        self._stopping.set()

    async def take(self, step: Step) -> None:
        """Takes a call through a step and lets it go on. Never raises but on cancellation."""
        work = asyncio.ensure_future(self._work(step))
        ends = [asyncio.ensure_future(end.wait()) for end in (step.left, self._stopping)]
        try:
            await asyncio.wait((work, *ends), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, *ends):
                task.cancel()
            await asyncio.gather(work, *ends, return_exceptions=True)
        if work.cancelled() and not step.left.is_set():
            await hand_back(self._ari, step.channel.id, "draining")

    async def _work(self, step: Step) -> None:
        try:
            if step.profile.mode is Mode.PASSTHRU:
                await self._passthru(step)
            else:
                await self._connect(step)
        except StreamFailed as failure:  # a secret is missing
            log.warning("step_failed", profile=step.name, detail=failure.detail)
            await hand_back(self._ari, step.channel.id, failure.cause.value)
        except Exception:  # a defect of ours must cost this step, not the caller
            log.exception("step_defect", profile=step.name)
            await hand_back(self._ari, step.channel.id, "step_failed")

    # -- passthru -------------------------------------------------------------------------------------------------

    async def _passthru(self, step: Step) -> None:
        settings = step.profile.passthru
        if settings.wait:
            status = await self._tell(step)
        else:
            self._start(self._tell_only(step))
            status = 200
        target = parse_target(target_after(settings, status))
        result = f"passthru_{status}" if status in (200, 302) else "passthru_failed"
        await self._leave(step, Handover(target=target), result, step.place)

    async def _tell_only(self, step: Step) -> None:
        await self._tell(step)

    async def _tell(self, step: Step) -> int | None:
        """Makes the request; gives the status, None if there was no answer."""
        settings, profile = step.profile.passthru, step.profile
        call, stream = await self._call_data(step), await step.before()
        if settings.request in ("get", "get_json"):
            asking = self._fetch(step, "GET", profile.url, settings.timeout_ms, params=query(settings, call, stream))
        else:
            follows = self._book.profiles.get(settings.on_200.removeprefix("profile:"))
            content = body(settings, call, stream, url="" if follows is None else follows.url.partition("?")[0])
            asking = self._fetch(step, "POST", profile.url, settings.timeout_ms, content=msgspec.json.encode(content))
        try:
            return (await asking).status
        except FetchFailed as failure:
            log.warning("passthru_failed", profile=step.name, cause=failure.cause.value, detail=failure.detail)
            return None

    # -- connect --------------------------------------------------------------------------------------------------

    async def _connect(self, step: Step) -> None:
        channel_id = step.channel.id
        connecting = self._connecting.pop(channel_id, None) if step.given.get("connect") == "next" else None
        status = ""
        if connecting is not None:
            status = await self._variable(channel_id, "DIALSTATUS")
            await self._tell_attempt(step, connecting, status)
            if status == "ANSWER":
                await self._leave(step, Handover(), "connected", connecting.place)
                return
        try:
            if connecting is None:
                plan = await self._ask(step, {})
                connecting = _Connecting(step.place, plan, list(plan.attempts), 1)
            elif connecting.plan.fetch_again and connecting.fetches < step.profile.connect.max_fetches:
                plan = await self._ask(step, {"DialCallStatus": _exotels(status)})
                connecting = _Connecting(connecting.place, plan, list(plan.attempts), connecting.fetches + 1)
        except (BadPlan, FetchFailed) as error:
            log.warning("connect_failed", profile=step.name, error=str(error))
            failure = Handover(target=parse_target(step.profile.handover.on_failure))
            await self._leave(
                step, failure, "connect_unanswered", step.place if connecting is None else connecting.place
            )
            return
        if not connecting.attempts:
            how = status.lower() if status.lower() in STATUSES else "failed"
            result = f"connect_{how}" if connecting.plan.attempts else "connect_nobody"
            closing = Handover(target=parse_target(step.profile.handover.on_close))
            await self._leave(step, closing, result, connecting.place)
            return
        await self._dial(step, connecting)

    async def _ask(self, step: Step, more: dict[str, str]) -> Plan:
        """The answer of the server, or of the one behind it.

        Raises:
            FetchFailed: Neither answers.
            BadPlan: The last one's answer cannot be used.
        """
        settings = step.profile.connect
        call = await self._call_data(step)
        urls = [url for url in (step.profile.url, settings.fallback_url) if url]
        for number, url in enumerate(urls, start=1):
            try:
                answer = await self._fetch(
                    step, "GET", url, settings.timeout_ms,
                    params={**call_parameters(call), **more}, headers=EXOTEL_VERSION,
                )  # fmt: skip
                if answer.status != 200:
                    raise BadPlan(f"HTTP {answer.status}")
                plan = read_plan(settings, answer.body, dialled=call.dialled, channel_id=step.channel.id)
            except (BadPlan, FetchFailed) as error:
                if number == len(urls):
                    raise
                log.warning("connect_falls_back", profile=step.name, error=str(error))
            else:
                if plan.left_out:
                    log.warning("connect_left_out", profile=step.name, left_out=plan.left_out)
                return plan
        raise BadPlan("there is nobody to ask")

    async def _dial(self, step: Step, connecting: _Connecting) -> None:
        connecting.dialling, connecting.began_at = connecting.attempts.pop(0), self._clock()
        if step.left.is_set():
            return
        self._connecting[step.channel.id] = connecting
        while len(self._connecting) > CONNECTS_MAX:
            self._connecting.popitem(last=False)
        place = connecting.place
        found = {
            **connecting.plan.variables,
            "CONNECTOR_DIAL": connecting.dialling,
            "CONNECTOR_APP": self._app,
            "CONNECTOR_STEP": step.name,
            "CONNECTOR_BACK": f"{place.context},{place.extension},{place.priority + 1}",
        }
        context = step.profile.connect.context
        try:
            await asyncio.gather(
                *(self._ari.set_variable(step.channel.id, name, value) for name, value in found.items())
            )
            if await self._variable(step.channel.id, f"DIALPLAN_EXISTS({context},dial,1)") == "1":
                await self._ari.continue_in_dialplan(step.channel.id, context=context, extension="dial", priority=1)
                return
            log.error("connect_impossible", context=context, remedy="add asterisk-conf/connector-extensions.conf")
        except AriError as error:
            log.warning("connect_failed", profile=step.name, error=str(error))
        self._connecting.pop(step.channel.id, None)
        await self._leave(step, Handover(), "connect_failed", place)

    async def _tell_attempt(self, step: Step, connecting: _Connecting, status: str) -> None:
        """What came of an attempt, for the server that wants to know; nobody waits for it."""
        url = connecting.plan.event_url
        if not url:
            return
        call = await self._call_data(step)
        params = {
            **call_parameters(call),
            "DialCallStatus": _exotels(status),
            "DialWhomNumber": connecting.dialling,
            "DialCallDuration": await self._variable(step.channel.id, "ANSWEREDTIME") or "0",
        }

        async def tell() -> None:
            try:
                await self._fetch(step, "GET", url, step.profile.connect.timeout_ms, params=params)
            except FetchFailed as failure:
                log.warning("connect_event_failed", profile=step.name, detail=failure.detail)

        self._start(tell())

    # -- for both -------------------------------------------------------------------------------------------------

    async def _call_data(self, step: Step) -> CallData:
        channel = step.channel
        more = {key: value for key, value in step.given.items() if key != "connect"}
        return CallData(
            call_id=f"{self._pbx}:{channel.id}",
            caller=channel.caller.number,
            dialled=await self._variable(channel.id, DIALLED_NUMBER) or step.place.extension,
            direction=step.direction,
            began_at=_began(channel.id, self._clock()),
            now=self._clock(),
            digits=step.given.get("digits", ""),
            more={**step.profile.parameters, **more},
        )

    async def _fetch(
        self,
        step: Step,
        method: str,
        url: str,
        timeout_ms: int,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Fetched:
        # What an answer names, and not the profile, is as little to be trusted as the answer.
        trusted = self._book.is_trusted(step.name) and url in (step.profile.url, step.profile.connect.fallback_url)
        return await self._dialler.fetch(
            method, url, step.profile, trusted=trusted, timeout_s=timeout_ms / 1000, params=params, headers=headers,
            body=content,
        )  # fmt: skip

    async def _leave(self, step: Step, handover: Handover, result: str, place: Place) -> None:
        self._counters.stepped(self._pbx, step.name, result)
        log.info("step_done", profile=step.name, result=result, target=str(handover.target))
        if step.left.is_set():
            return
        settings = step.profile.handover
        if place is not step.place and str(handover.target) == "dialplan":  # it stands in the context that dials
            await self._go_back(step, result)
            return
        found = variables(handover, settings, place, result=result, app=self._app, profile=step.name)
        await send_on(self._ari, step.channel.id, handover, found, context=settings.context)

    async def _go_back(self, step: Step, result: str) -> None:
        try:
            await self._ari.set_variable(step.channel.id, RESULT_VARIABLE, result)
            await self._ari.continue_in_dialplan(step.channel.id)  # whose next line goes to CONNECTOR_BACK
        except AriError as error:
            log.warning("hand_back_failed", call_id=step.channel.id, error=str(error))

    async def _variable(self, channel_id: str, name: str) -> str:
        try:
            return await self._ari.get_variable(channel_id, name)
        except AriError:
            return ""  # it has no such value; or it is gone, of which an event tells


def _exotels(status: str) -> str:
    """DIALSTATUS in Exotel's words."""
    words = {"ANSWER": "completed", "BUSY": "busy", "NOANSWER": "no-answer", "CANCEL": "canceled"}
    return words.get(status, "failed")


def _began(uniqueid: str, now: float) -> float:
    """When a channel began: its uniqueid begins with that."""
    try:
        return float(uniqueid.rpartition("-")[2].partition(".")[0])
    except ValueError:
        return now
