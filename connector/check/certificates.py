"""Whether a certificate ends soon."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from connector.check.findings import Cause, Findings
from connector.telemetry.certificates import expiry_of

SOON_DAYS = 30
DAY_S = 86_400


def check_end(subject: str, what: str, expires_at: float | None, now: float, findings: Findings) -> None:
    """Compares the end of a certificate with today.

    Args:
        subject: For the findings.
        what: Whose it is, and how it is renewed, for a person.
        expires_at: Seconds since the epoch; None where there is no TLS.
        now: The same, of today.
        findings: Gets one.
    """
    if expires_at is None:
        return
    days = int((expires_at - now) // DAY_S)
    day = datetime.fromtimestamp(expires_at, UTC).date()
    if days < 0:
        findings.error(subject, Cause.CERTIFICATE_END, f"the certificate ended on {day}: renew that {what}")
    elif days < SOON_DAYS:
        findings.warning(
            subject, Cause.CERTIFICATE_END, f"the certificate ends on {day}, in {days} days: renew that {what}"
        )
    else:
        findings.ok(subject, Cause.CERTIFICATE_END, f"the certificate is good until {day}")


def check_own(path: Path | None, now: float, findings: Findings) -> None:
    """The certificate of the pages.

    Args:
        path: `http.tls_certificate`; None without TLS.
        now: Seconds since the epoch.
        findings: Gets one.
    """
    if path is None:
        return
    try:
        expires_at = expiry_of(path.read_bytes())
    except (OSError, ValueError) as error:
        findings.error(
            "http", Cause.CERTIFICATE_END, f"http.tls_certificate {path} cannot be read ({error}): correct it"
        )
        return
    check_end("http", "of http.tls_certificate, and restart", expires_at, now, findings)
