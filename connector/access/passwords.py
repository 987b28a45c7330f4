"""Passwords: Argon2id (RFC 9106) with the library's parameters, and what is asked of a new one."""

from __future__ import annotations

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LENGTH_MIN = 10
LENGTH_MAX = 256
"""What is longer costs the hash time for nothing."""

_hasher = PasswordHasher()
_NOBODYS = _hasher.hash("nobody's password")


class WeakPassword(ValueError):
    """A new password does not do; the text says why."""


def hashed(password: str, *, name: str = "") -> str:
    """The hash of a new password. Takes tens of milliseconds and 64 MiB: not on the event loop.

    Raises:
        WeakPassword: It is too short, too long, or the name.
    """
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise WeakPassword(f"A password has {LENGTH_MIN} to {LENGTH_MAX} characters.")
    if len(set(password)) < 4 or (name and password.casefold().startswith(name.casefold())):
        raise WeakPassword("The password is too easily guessed: it begins with the name, or is one character repeated.")
    return _hasher.hash(password)


def is_right(password_hash: str, password: str) -> bool:
    """Whether a password is the one. As slow where there is no hash, so that nobody learns which names there are."""
    try:
        _hasher.verify(password_hash or _NOBODYS, password[:LENGTH_MAX])
    except (VerificationError, InvalidHashError):
        return False
    return bool(password_hash)


def is_outdated(password_hash: str) -> bool:
    """Whether it was made with weaker parameters than a new one."""
    return _hasher.check_needs_rehash(password_hash)


def generated() -> str:
    """A password nobody guesses."""
    return secrets.token_urlsafe(15)
