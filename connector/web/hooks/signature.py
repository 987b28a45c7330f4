"""The signature of a webhook: HMAC-SHA256 over time and body, so that neither can be changed nor sent again later."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "X-Connector-Signature"
TOLERANCE_S = 300.0
"""How old a signature may be when it is checked."""


def sign(secret: str, body: bytes, at: int) -> str:
    """The header's value: `t=<seconds since the epoch>,v1=<hex>`, the MAC being over `<t>.<body>`."""
    return f"t={at},v1={_mac(secret, body, str(at))}"


def verify(secret: str, body: bytes, header: str, now: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """Whether a webhook came from who has the secret, just now; what a receiver does, in whatever language."""
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    at, mac = parts.get("t", ""), parts.get("v1", "")
    if not at.isascii() or not at.isdigit() or abs(now - int(at)) > tolerance_s:
        return False
    return hmac.compare_digest(_mac(secret, body, at).encode(), mac.encode())


def _mac(secret: str, body: bytes, at: str) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
