"""What is known of those who may log in. Times are seconds since the epoch."""

from __future__ import annotations

import enum
import hashlib
import hmac
import secrets

import msgspec

from connector.access.rights import Right, Role, TokenScope, rights_of
from connector.access.sight import ALL, Sight

NAME_PATTERN = r"^(?!anonymous$)[a-zA-Z0-9][a-zA-Z0-9._@+-]{0,63}$"
TOKEN_PREFIX = "act"


class Source(enum.StrEnum):
    """Where an account proves who it is."""

    LOCAL = "local"
    OIDC = "oidc"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody, or a program, that may use the product.

    Attributes:
        name: To log in with; unique.
        role: What it may do.
        queues: Its queues, see `Sight`; `*` for all.
        teams: Its teams.
        phone: Interface at which it listens to calls, such as PJSIP/boss; empty for none.
        source: How it proves who it is.
        password_hash: Argon2; empty where no password is known, which none is right for.
        subject: Issuer and subject of OpenID Connect, as of the first login.
        disabled: It may do nothing.
        created_at: When it was made.
    """

    name: str
    role: Role
    queues: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    phone: str = ""
    source: Source = Source.LOCAL
    password_hash: str = ""
    subject: str = ""
    disabled: bool = False
    created_at: float = 0.0


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that a program uses instead of a login; only its hash is kept."""

    id: str
    account: str
    label: str
    hash: str
    scopes: tuple[TokenScope, ...]
    created_at: float
    expires_at: float | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A login of a browser; `id` is the hash of what its cookie holds."""

    id: str
    account: str
    created_at: float
    expires_at: float
    remote: str = ""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request, with all that is decided by it. Equal ones may do the same.

    Attributes:
        name: Of the account; with the label of the token behind a colon.
        role: Of the account.
        rights: What it may do.
        sight: On which targets.
        phone: See `Account`.
    """

    name: str
    role: Role
    rights: frozenset[Right]
    sight: Sight
    phone: str = ""

    def may(self, right: Right) -> bool:
        """Whether it has a right."""
        return right in self.rights


def principal_of(account: Account, token: Token | None = None, *, mask_viewers: bool = True) -> Principal:
    """Who an account is, or a program with a token of it."""
    numbers = account.role is not Role.VIEWER or not mask_viewers
    sight = ALL if account.role is Role.ADMIN else Sight.of(account.queues, account.teams, numbers=numbers)
    return Principal(
        name=account.name if token is None else f"{account.name}:{token.label}",
        role=account.role,
        rights=rights_of(account.role, None if token is None else token.scopes),
        sight=sight,
        phone=account.phone,
    )


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """What is kept of a random secret. It has more entropy than can be tried, so a fast hash does."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def new_token(
    account: str, label: str, scopes: tuple[TokenScope, ...], *, now: float, expires_at: float | None
) -> tuple[Token, str]:
    """A token, and the text that is shown once."""
    id_, secret = secrets.token_hex(8), new_secret()
    token = Token(
        id=id_,
        account=account,
        label=label,
        hash=hash_of(secret),
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    return token, f"{TOKEN_PREFIX}_{id_}_{secret}"


def split_token(text: str) -> tuple[str, str]:
    """Id and secret of a token's text; empty ones where it is none."""
    prefix, _, rest = text.partition("_")
    id_, _, secret = rest.partition("_")
    return (id_, secret) if prefix == TOKEN_PREFIX else ("", "")


def is_secret_of(token: Token, secret: str) -> bool:
    """Whether the secret is the token's."""
    return hmac.compare_digest(token.hash, hash_of(secret))
