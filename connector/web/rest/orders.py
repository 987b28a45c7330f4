"""What can be ordered of a call that is with a bot: that it goes elsewhere, or ends. What the bot may, by REST."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.asterisk.ari import AriError
from connector.calls.outcome import Outcome, Result
from connector.config_targets import TargetKind, parse_target
from connector.dialects.commands import MAX_TEXT, Command, HangUp, Transfer
from connector.media.control import EndCause
from connector.streams.botcall import Ending
from connector.streams.handover import BadHandover
from connector.web.rest.endpoint import Call, Deed, Endpoint, Nothing
from connector.web.rest.problems import Refused, not_found
from connector.web.rest.stream_views import StreamView
from connector.web.rest.streams import StreamPath

CONFIRM_S = 5.0
"""For the call to have left, and nothing of ours to be there any more."""


class Bot(Protocol):
    """A call that is with a bot; `streams.voicebot.VoicebotCall` is one."""

    ending: asyncio.Future[Ending]

    async def order(self, command: Command, *, trusted: bool = True) -> None:
        """Has it done; raises `BadHandover` and `AriError`."""
        ...


class HandOverBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a call is to go from its bot, and what goes with it; docs/handover.md."""

    target: Annotated[str, Meta(min_length=1, max_length=210, description="As queue:NAME, extension:NUMBER@CONTEXT, "
                                "sip:USER@HOST, profile:NAME, announce:SOUND, dialplan or hangup.")]  # fmt: skip
    reason: Annotated[str, Meta(max_length=200)] = ""
    summary: Annotated[str, Meta(max_length=MAX_TEXT, description="For the person who takes the call.")] = ""
    headers: Annotated[dict[str, str], Meta(max_length=3, description="Of the INVITE to that person's phone; 200 bytes "
                                            "together.")] = {}  # fmt: skip
    blind: Annotated[bool, Meta(description="Without the announcements of the profile.")] = False


class EndBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call that ends."""

    confirm: Annotated[bool, Meta(description="Must be true: it cannot be undone.")] = False
    reason: Annotated[str, Meta(max_length=200)] = ""


class OrdersApi:
    """Passes orders on to the call.

    Args:
        seen: Streams of a PBX in the scope of who asks.
        bot: The call of a stream; None where there is none, or the stream only listens.
    """

    def __init__(
        self, seen: Callable[[Sight, str], Iterable[StreamView]], bot: Callable[[str, str], Bot | None]
    ) -> None:
        self._seen = seen
        self._bot = bot

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        one = "/streams/{pbx}/{stream}"
        return [
            Endpoint("POST", one + "/hand-over", "hand_over", "Send a call from its bot elsewhere", "streams",
                     self._hand_over, Result, parameters=StreamPath, body=HandOverBody, problems=(404, 409, 422, 502),
                     right=Right.TRANSFER, deed=_deed("stream.hand-over", lambda call: str(call.body.target))),
            Endpoint("POST", one + "/hang-up", "hang_up_stream", "End a call that is with a bot", "streams",
                     self._hang_up, Result, parameters=StreamPath, body=EndBody, problems=(404, 409, 422, 502),
                     right=Right.HANG_UP, deed=_deed("stream.hang-up", lambda call: str(call.body.reason))),
        ]  # fmt: skip

    async def _hand_over(self, call: Call[StreamPath, Nothing, HandOverBody]) -> Result:
        body = call.body
        asked = Transfer(body.target, body.reason, body.summary, body.headers, body.blind)
        return await self._order(call, asked, trusted=self._may_anything(call))

    async def _hang_up(self, call: Call[StreamPath, Nothing, EndBody]) -> Result:
        if not call.body.confirm:
            raise Refused(
                409, "confirmation-needed", "The caller's call ends.", remedy="Send it again with confirm: true."
            )
        return await self._order(call, HangUp(call.body.reason), trusted=True)

    def _may_anything(self, call: Call[StreamPath, Nothing, HandOverBody]) -> bool:
        """Administrators send calls anywhere, others to queues in scope and where the bot may."""
        try:
            target = parse_target(call.body.target)
        except ValueError:
            return False  # which is said where it is checked
        if call.who.known.may(Right.ADMINISTER):
            return True
        return target.kind is TargetKind.QUEUE and call.sight.queue(call.path.pbx, target.value)

    async def _order(self, call: Call[StreamPath, Nothing, Any], command: Command, *, trusted: bool) -> Result:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        bot = self._find(call)
        try:
            await bot.order(command, trusted=trusted)
        except BadHandover as error:
            raise Refused(422, "bad-hand-over", f"{error}.", remedy="See docs/handover.md for what can be.") from None
        except AriError as error:
            raise Refused(502, "refused-by-asterisk", str(error), remedy="See Asterisk's log.") from None
        await asyncio.wait({bot.ending}, timeout=CONFIRM_S)
        took_s = round(loop.time() - began_s, 3)
        if not bot.ending.done():
            return Result(outcome=Outcome.UNKNOWN, detail="the call has not left its bot yet", took_s=took_s)
        ending = bot.ending.result()
        if ending.cause not in (EndCause.HANDED_OVER, EndCause.BOT_HUNG_UP):
            raise Refused(409, "not-possible", f"The call ended before: {ending.cause.value}.", remedy="")
        return Result(outcome=Outcome.DONE, detail=f"the call went to {ending.handover.target}", took_s=took_s)

    def _find(self, call: Call[StreamPath, Nothing, Any]) -> Bot:
        path = call.path
        if any(view.stream == path.stream for view in self._seen(call.sight, path.pbx)):
            bot = self._bot(path.pbx, path.stream)
            if bot is not None:
                return bot
            raise Refused(
                409, "not-possible", "The stream only listens: the call is not with a bot.",
                remedy="Transfer the call by /actions/transfer.",
            )  # fmt: skip
        raise not_found(f"{path.pbx} has no stream {path.stream!r}.", "See /api/v1/streams for those that run.")


def _deed(action: str, detail: Callable[[Call[StreamPath, Nothing, Any]], str]) -> Deed:
    return Deed(
        action,
        lambda call: call.path.stream,
        pbx=lambda call: call.path.pbx,
        detail=detail,
        result=lambda result: "ok" if result.outcome is Outcome.DONE else str(result.outcome),
    )
