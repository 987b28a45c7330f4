"""Why a request to ARI did not succeed, and what to do about it."""

from __future__ import annotations


class AriError(Exception):
    """A request did not succeed.

    Attributes:
        method: HTTP method.
        path: Below the ARI address, without the query, which may hold what a caller said or dialled.
        status: HTTP status, None where no answer came.
        message: Asterisk's own words, or what happened to the connection.
    """

    remedy = ""

    def __init__(self, method: str, path: str, status: int | None, message: str) -> None:
        said = f"Asterisk answered {status}: {message}" if status is not None else message
        super().__init__(f"ARI {method} {path}: {said}{'. ' if self.remedy else ''}{self.remedy}")
        self.method = method
        self.path = path
        self.status = status
        self.message = message


class AriUnreachable(AriError):
    """No HTTP connection, or it broke."""

    remedy = "Check that Asterisk runs, and host, port and TLS against http.conf"


class AriNoTls(AriUnreachable):
    """What listens at an https address does not speak TLS."""

    remedy = "Check that ari.url has the port of tlsbindaddr in http.conf, or use http://"


class AriUntrusted(AriError):
    """The certificate of an https address is not one that we trust; nothing was sent."""

    remedy = "Set ari.tls_ca_file to the CA of the PBX, and ari.url to a name that its certificate has"


class AriTimeout(AriError):
    """No answer within the deadline: a POST or DELETE may have happened."""

    remedy = "Asterisk is overloaded or its ARI hangs; `core show taskprocessors` tells, a restart cures a deadlock"


class AriUnauthorized(AriError):
    """Wrong user or password (401), or a read-only user (403)."""

    remedy = "Check user and password against ari.conf, and that the user has read_only=no"


class AriNotFound(AriError):
    """The channel, bridge, application or module does not exist (any more)."""


class AriConflict(AriError):
    """The id is taken, or the object's state does not allow this."""


class AriNotInStasis(AriError):
    """A channel is not, or not yet, in the application: wait for its StasisStart (422)."""


class AriRejected(AriError):
    """Asterisk does not take the request as it is (another 4xx)."""


class AriServerError(AriError):
    """Asterisk failed (5xx), which 22 also says for an unknown format or an id that is taken."""

    remedy = "The log of Asterisk tells more; for externalMedia check that chan_rtp.so is loaded"


class AriBadAnswer(AriError):
    """The answer is not what this request returns."""

    remedy = "Check that the address is ARI's, ending in /ari, and that Asterisk is 16 to 23"


class AriUnsafeSubscription(AriError):
    """Subscriptions to device states can deadlock ARI on Asterisk 22; nothing was sent."""

    remedy = "Subscribe to channel:, bridge: and endpoint: only; device states come by AMI"


def error_of(status: int) -> type[AriError]:
    """The error for an HTTP status of 400 or more."""
    known = {
        401: AriUnauthorized,
        403: AriUnauthorized,
        404: AriNotFound,
        409: AriConflict,
        422: AriNotInStasis,
    }
    if status >= 500:
        return AriServerError
    return known.get(status, AriRejected)
