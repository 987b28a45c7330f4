"""Single sign-on: OpenID Connect by authorization code with PKCE (OpenID Connect Core 1.0 3.1, RFC 7636, RFC 9700)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

import aiohttp
import msgspec
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from connector.config import OidcSettings

log = structlog.get_logger()

DEADLINE_S = 10.0
METADATA_AGE_S = 3_600.0
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Asymmetric ones: with HS256 who knows the client's secret could sign, with none everybody."""
BODY_MAX_BYTES = 1_048_576


class OidcFailed(Exception):
    """The provider or what came from it cannot be used; the text is for the log, `kind` for the page."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Pending(msgspec.Struct, frozen=True):
    """A log-in under way: kept by the browser that began it, and by nobody else."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str

    def text(self) -> str:
        """For a cookie."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Pending:
        """From a cookie.

        Raises:
            OidcFailed: It is none.
        """
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=cls)
        except (ValueError, msgspec.DecodeError):
            raise OidcFailed("expired", "the browser has no log-in under way") from None


class Provider:
    """The relying party's side.

    Args:
        settings: Which provider.
        clock: Seconds since the epoch.
        monotonic: Seconds that never go back.
    """

    def __init__(self, settings: OidcSettings, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._read_at = float("-inf")

    async def begin(self, redirect_uri: str) -> tuple[str, Pending]:
        """Where the browser is sent, and what it keeps meanwhile.

        Raises:
            OidcFailed: The provider cannot be reached.
        """
        metadata = await self._described()
        pending = Pending(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), redirect_uri)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._settings.scopes,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = str(metadata["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", pending

    async def finish(self, pending: Pending, answer: Mapping[str, str]) -> dict[str, Any]:
        """The claims of who logged in.

        Args:
            pending: What the browser kept.
            answer: The query that the provider sent the browser back with.

        Raises:
            OidcFailed: They did not log in, or what came is not from the provider, for us and for this log-in.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), pending.state.encode()):
            raise OidcFailed("expired", "the answer belongs to another log-in")
        if "error" in answer:
            raise OidcFailed("refused", f"the provider says {answer['error'][:100]!r}")
        if answer.get("iss", self._settings.issuer).rstrip("/") != self._settings.issuer:  # RFC 9207
            raise OidcFailed("failed", "the answer names another issuer")
        metadata = await self._described()
        form = {
            "grant_type": "authorization_code",
            "code": answer.get("code", ""),
            "redirect_uri": pending.redirect_uri,
            "code_verifier": pending.verifier,
        }
        secret = self._settings.client_secret.get_secret_value()
        headers: dict[str, str] = {}
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret and "client_secret_basic" in methods:
            login = f"{quote_plus(self._settings.client_id)}:{quote_plus(secret)}"  # RFC 6749 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        else:
            form |= {"client_id": self._settings.client_id} | ({"client_secret": secret} if secret else {})
        tokens = await self._ask(str(metadata["token_endpoint"]), form=form, headers=headers)
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise OidcFailed("failed", "the provider gave no id_token")
        return await self._checked(id_token, pending.nonce)

    async def _checked(self, id_token: str, nonce: str) -> dict[str, Any]:
        keys = await self._key_set()
        try:
            try:
                token = jwt.decode(id_token, keys, algorithms=list(ALGORITHMS))
            except (JoseError, ValueError):
                # The provider may have new keys since.
                token = jwt.decode(id_token, await self._key_set(anew=True), algorithms=list(ALGORITHMS))
            registry = jwt.JWTClaimsRegistry(
                now=int(self._clock()),
                leeway=60,
                iss={"essential": True, "value": self._metadata["issuer"]},
                aud={"essential": True, "value": self._settings.client_id},
                exp={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": nonce},
            )
            registry.validate(token.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise OidcFailed("failed", f"the id_token is not valid: {error}") from None
        claims = dict(token.claims)
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._settings.client_id:
            raise OidcFailed("failed", "the id_token is for several, and we are not its party")
        return claims

    async def _described(self) -> dict[str, Any]:
        if self._monotonic() - self._read_at > METADATA_AGE_S:
            metadata = await self._ask(f"{self._settings.issuer}/.well-known/openid-configuration")
            if str(metadata.get("issuer", "")).rstrip("/") != self._settings.issuer:
                raise OidcFailed(
                    "failed", f"the provider calls itself {metadata.get('issuer')!r}: correct http.oidc.issuer"
                )
            for key in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not isinstance(metadata.get(key), str):
                    raise OidcFailed("failed", f"the provider's description has no {key}")
            self._metadata, self._keys, self._read_at = metadata, None, self._monotonic()
        return self._metadata

    async def _key_set(self, *, anew: bool = False) -> KeySet:
        if self._keys is None or anew:
            found = await self._ask(str((await self._described())["jwks_uri"]))
            try:
                self._keys = KeySet.import_key_set({"keys": found["keys"]})
            except (JoseError, KeyError, ValueError, TypeError) as error:
                raise OidcFailed("failed", f"the provider's keys cannot be read: {error!r}") from None
        return self._keys

    async def _ask(
        self, url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as session,
                session.request(
                    "GET" if form is None else "POST", url, data=form, headers=headers, allow_redirects=False
                ) as answer,
            ):
                body = await answer.content.read(BODY_MAX_BYTES)
                while not answer.content.at_eof() and len(body) < BODY_MAX_BYTES:
                    body += await answer.content.read(BODY_MAX_BYTES - len(body))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OidcFailed("unreachable", f"{url}: {error!r}") from None
        if answer.status != 200:
            raise OidcFailed("failed", f"{url} answered {answer.status}")
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise OidcFailed("failed", f"{url} answered what is no JSON object") from None
