"""Secrets from where they are kept, and what is made of them: headers that prove who we are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from connector.config_profiles import AuthSettings

SIGNATURE_HEADER = "X-Connector-Signature"
TWILIO_HEADER = "X-Twilio-Signature"
ENV_PREFIX = "CONNECTOR_SECRET_"
"""`env:NAME` is the variable CONNECTOR_SECRET_NAME: who may write profiles may not read every variable."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class NoSecret(Exception):
    """A secret is not where the profile says; the message names the place, never the secret."""


class Secrets:
    """Finds secrets.

    Args:
        environ: Environment variables.
        directory: Of the files; None for none.
    """

    def __init__(self, environ: Mapping[str, str], directory: Path | None) -> None:
        self._environ = environ
        self._directory = directory

    def find(self, text: str) -> str:
        """The secret that `text` names, or is. Files are read each time, so they may change.

        Raises:
            NoSecret: It is not there.
        """
        place, separator, name = text.partition(":")
        if not separator or place not in ("env", "file"):
            return text
        if not _NAME.fullmatch(name) or name.startswith("."):
            raise NoSecret(f"{place}:{name[:64]} is no name of a secret")
        if place == "env":
            try:
                return self._environ[ENV_PREFIX + name]
            except KeyError:
                raise NoSecret(f"the environment has no {ENV_PREFIX}{name}") from None
        if self._directory is None:
            raise NoSecret(f"file:{name}: outgoing.secrets_directory is not set")
        try:
            return (self._directory / name).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoSecret(f"file:{name}: {error}") from None


def auth_headers(auth: AuthSettings, secrets: Secrets, *, url: str, unix_s: float) -> dict[str, str]:
    """Headers that prove to a server who we are.

    Args:
        auth: How.
        secrets: Where the secret is found.
        url: That is asked for; signatures cover it.
        unix_s: Now.

    Raises:
        NoSecret: The secret is not there.
    """
    if auth.kind == "none":
        return {}
    secret = secrets.find(auth.secret.get_secret_value())
    match auth.kind:
        case "basic":  # RFC 7617
            pair = f"{auth.username}:{secret}".encode()
            return {"Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}
        case "bearer":  # RFC 6750
            return {"Authorization": f"Bearer {secret}"}
        case "twilio":
            return {TWILIO_HEADER: twilio_signature(secret, url)}
        case "hmac":
            moment = int(unix_s)
            code = hmac.new(secret.encode(), f"{moment}.{url}".encode(), hashlib.sha256).hexdigest()
            return {SIGNATURE_HEADER: f"t={moment},v1={code}"}


def twilio_signature(token: str, url: str, fields: Mapping[str, str] | None = None) -> str:
    """Twilio's "Validating requests": HMAC-SHA1 of the URL and of the sorted form fields, in base64."""
    text = url + "".join(key + value for key, value in sorted((fields or {}).items()))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode("ascii")
