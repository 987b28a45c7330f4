"""One endpoint of the API: its method, path and types. What does not fit them never reaches the handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import hdrs, web

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.web.audit import Audit
from connector.web.auth.identity import Who, who
from connector.web.rest.problems import Refused, invalid

P = TypeVar("P", bound=msgspec.Struct)
Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B")

PREFIX = "/api/v1"
NO_STORE = {"Cache-Control": "no-store"}


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class Call(Generic[P, Q, B]):
    """A checked request.

    Attributes:
        path: Parameters in the path.
        query: Parameters after the question mark.
        body: The JSON body.
        who: Who makes it.
    """

    path: P
    query: Q
    body: B
    who: Who

    @property
    def sight(self) -> Sight:
        """What they see."""
        return self.who.known.sight


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that needs more than its body."""

    body: Any
    headers: dict[str, str]


Handler = Callable[[Call[Any, Any, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Deed:
    """What the audit says of a call; every endpoint that acts has one.

    Attributes:
        action: Closed word, such as person.add.
        target: What it is done to.
        pbx: Where, if at one PBX.
        detail: More of it; no secret.
        result: Of an answer: ok, or why not. A refusal is the kind of its problem.
    """

    action: str
    target: Callable[[Call[Any, Any, Any]], str]
    pbx: Callable[[Call[Any, Any, Any]], str] = lambda _: ""
    detail: Callable[[Call[Any, Any, Any]], str] = lambda _: ""
    result: Callable[[Any], str] = lambda _: "ok"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one method of one path takes and gives.

    Attributes:
        method: HTTP method.
        path: Below the prefix, with parameters in braces that `parameters` has as fields.
        name: The operation's id.
        summary: One line.
        tag: Chapter of the document.
        handle: Gets the checked request, returns what `answer` says; raises `Refused`.
        answer: Type of the answer's body; None for 204.
        parameters: Those in the path.
        query: Those after the question mark.
        body: Of the request; None for none.
        status: Of success.
        problems: What else can come, besides 400, 401, 403 and 500.
        right: Needed; None where nobody needs to be logged in.
        deed: What the audit says of it; None for what only reads.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    handle: Handler
    answer: Any
    parameters: type[msgspec.Struct] = Nothing
    query: type[msgspec.Struct] = Nothing
    body: type[msgspec.Struct] | None = None
    status: int = 200
    problems: tuple[int, ...] = ()
    right: Right | None = Right.ADMINISTER
    deed: Deed | None = None

    async def serve(self, request: web.Request, audit: Audit) -> web.Response:
        """Checks a request, has it handled and encodes the answer."""
        call = Call(
            path=_parameters(dict(request.match_info), self.parameters, "path"),
            query=_parameters(_query(request), self.query, "query"),
            body=await self._body(request),
            who=who(request),
        )
        answer = await (self._permitted(call) if self.deed is None else self._audited(self.deed, call, audit))
        headers = dict(NO_STORE)
        if isinstance(answer, Answer):
            headers |= answer.headers
            answer = answer.body
        if self.answer is None:
            return web.Response(status=204, headers=headers)
        body = msgspec.json.encode(answer)
        return web.Response(status=self.status, body=body, content_type="application/json", headers=headers)

    async def _permitted(self, call: Call[Any, Any, Any]) -> Any:
        if self.right is not None:
            call.who.need(self.right)
        return await self.handle(call)

    async def _audited(self, deed: Deed, call: Call[Any, Any, Any], audit: Audit) -> Any:
        result = "interrupted"
        try:
            answer = await self._permitted(call)
            result = deed.result(answer)
        except Refused as refused:
            result = refused.kind
            raise
        except Exception:
            result = "internal-error"
            raise
        finally:
            audit.write(
                call.who, deed.action, deed.target(call), result=result, detail=deed.detail(call), pbx=deed.pbx(call)
            )
        return answer

    async def _body(self, request: web.Request) -> Any:
        if self.body is None:
            return None
        if request.content_type != "application/json":
            raise Refused(
                415,
                "unsupported-media-type",
                f"The body is {request.headers.get(hdrs.CONTENT_TYPE, 'of no stated type')!r}.",
                remedy="Send JSON with Content-Type: application/json.",
            )
        raw = await request.read()
        try:
            try:
                return msgspec.json.decode(raw, type=self.body)
            except msgspec.ValidationError:
                # For JSON Schema 5.0 is an integer (2020-12, validation 6.1.1).
                return msgspec.convert(_integral(msgspec.json.decode(raw)), type=self.body)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise invalid(f"The body is not as described: {error}.") from None


def _integral(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _integral(item) for key, item in value.items()}
        case list():
            return [_integral(item) for item in value]
    return value


def _query(request: web.Request) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name in values:
            raise invalid(f"The parameter {name!r} is given more than once.")
        values[name] = value
    return values


def _parameters(values: dict[str, str], shape: type[msgspec.Struct], where: str) -> Any:
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"A parameter in the {where} is not as described: {error}.") from None


def add_to(router: web.UrlDispatcher, endpoints: list[Endpoint], audit: Audit) -> None:
    """Makes the endpoints reachable; what they do is audited."""
    for endpoint in endpoints:
        router.add_route(endpoint.method, PREFIX + endpoint.path, partial(endpoint.serve, audit=audit))
