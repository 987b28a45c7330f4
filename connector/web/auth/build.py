"""Builds who-may-come-in as the settings say."""

from __future__ import annotations

from collections.abc import Callable

from connector.access.rights import Role
from connector.config import HttpSettings
from connector.store.accounts import KeptAccounts
from connector.web.audit import Audit
from connector.web.auth.accounts import Accounts
from connector.web.auth.oidc import Provider
from connector.web.auth.proxies import Proxies
from connector.web.auth.sso import SingleSignOn


def accounts_of(
    settings: HttpSettings, kept: KeptAccounts, *, clock: Callable[[], float], monotonic: Callable[[], float]
) -> Accounts:
    """The accounts.

    Args:
        settings: Say who may without a log-in, what viewers see, and how long a session lasts.
        kept: The database's.
        clock: Seconds since the epoch.
        monotonic: Seconds that never go back.
    """
    return Accounts(
        kept,
        clock=clock,
        monotonic=monotonic,
        anonymous=Role(settings.anonymous) if settings.anonymous else None,
        mask_viewers=settings.mask_numbers,
        session_s=settings.session_hours * 3_600,
    )


def sso_of(
    settings: HttpSettings, accounts: Accounts, audit: Audit, *, monotonic: Callable[[], float]
) -> SingleSignOn | None:
    """Single sign-on, if there is a provider."""
    if not settings.oidc.issuer:
        return None
    provider = Provider(settings.oidc, clock=accounts.clock, monotonic=monotonic)
    return SingleSignOn(settings.oidc, provider, accounts, audit, Proxies(settings.trusted_proxies))
