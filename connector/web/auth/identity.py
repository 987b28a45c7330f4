"""Who makes a request, as far as the guard found out; what handlers and the audit go by."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from connector.access.accounts import Principal
from connector.access.rights import Right
from connector.web.rest.problems import Refused

ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Who:
    """Who makes a request.

    Attributes:
        actor: Name of the account, with the label of its token; `anonymous` of nobody.
        remote: Address the request came from.
        principal: What they may do; None for nobody.
        session: Id of the session, if it is one's cookie that says so.
        token: Id of the token, if it is one.
        secret: Of the session's cookie.
        secure: The request came by TLS.
    """

    actor: str
    remote: str
    principal: Principal | None = None
    session: str = ""
    token: str = ""
    secret: str = ""
    secure: bool = False

    def __repr__(self) -> str:
        return f"Who({self.actor!r}, {self.remote!r})"

    @property
    def known(self) -> Principal:
        """Who it is.

        Raises:
            Refused: 401, nobody is logged in.
        """
        if self.principal is None:
            raise Refused(
                401,
                "unauthorized",
                "Nobody is logged in.",
                remedy="Log in by POST /api/v1/session, or send a token as Authorization: Bearer <token>.",
                headers={"WWW-Authenticate": 'Bearer realm="connector"'},
            )
        return self.principal

    def need(self, right: Right) -> Principal:
        """Who it is, if they have a right.

        Raises:
            Refused: 401 or 403.
        """
        principal = self.known
        if not principal.may(right):
            raise Refused(
                403,
                "forbidden",
                f"{principal.name} has no right to this: {right}.",
                cause=f"The role is {principal.role}; a token has no more rights than its scopes leave.",
                remedy="Ask an administrator for another role, or use another token.",
            )
        return principal


_WHO = web.RequestKey("who", Who)


def set_who(request: web.Request, who: Who) -> None:
    """For the guard."""
    request[_WHO] = who


def who(request: web.Request) -> Who:
    """Who makes a request."""
    return request.get(_WHO) or Who(ANONYMOUS, request.remote or "")
