"""What goes wrong, said in one shape: problem details for HTTP APIs (RFC 9457), with a cause and a way out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog
from aiohttp import web

log = structlog.get_logger()

API = "/api/"
CONTENT_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem as it is sent (RFC 9457, section 3).

    Attributes:
        type: What kind of problem; stays the same, so that programs can tell by it.
        title: The kind in a few words.
        status: HTTP status.
        detail: What happened this time.
        cause: Why.
        remedy: What to do.
    """

    type: str
    title: str
    status: int
    detail: str
    cause: str = ""
    remedy: str = ""


class Refused(Exception):
    """A request is answered with a problem.

    Args:
        status: HTTP status.
        kind: Name of the kind of problem, in lower case with hyphens.
        detail: What happened.
        cause: Why.
        remedy: What to do.
        headers: That the answer has to carry.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        cause: str = "",
        remedy: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.headers = headers or {}
        self.problem = Problem(
            type=f"urn:connector:problem:{kind}",
            title=kind.replace("-", " ").capitalize(),
            status=status,
            detail=detail,
            cause=cause,
            remedy=remedy,
        )

    def response(self) -> web.Response:
        """The answer that says it."""
        return web.Response(
            status=self.problem.status,
            body=msgspec.json.encode(self.problem),
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )


def not_found(what: str, remedy: str) -> Refused:
    """404: `what` is a whole sentence."""
    return Refused(404, "not-found", what, remedy=remedy)


def invalid(detail: str, remedy: str = "Compare the request with /api/v1/openapi.json.") -> Refused:
    """400: the request is not as described."""
    return Refused(400, "invalid-request", detail, remedy=remedy)


_REMEDIES = {
    404: "See /api/v1/openapi.json for what there is.",
    405: "Use one of the methods in the Allow header.",
    413: "Send less.",
}


@web.middleware
async def as_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Gives every failure below /api the same shape; what nobody expected is logged and hides its insides."""
    try:
        return await handler(request)
    except Refused as refused:
        return refused.response()
    except web.HTTPException as error:
        if not request.path.startswith(API) or error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return Refused(
            error.status,
            error.reason.lower().replace(" ", "-"),
            f"{request.method} {request.path}: {error.reason.lower()}.",
            remedy=_REMEDIES.get(error.status, ""),
            headers=allow,
        ).response()
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return Refused(
            500,
            "internal-error",
            "The connector failed at this request.",
            cause="A defect of the connector; its log has the details.",
            remedy="Report it with the log of this time.",
        ).response()
