"""Whether the PBX's dialplan hands calls to the connector at all, and to profiles that there are."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from connector.asterisk.ami import Ami
from connector.asterisk.ami_model import AmiError, AmiList
from connector.check.findings import Cause, Findings
from connector.config import Settings

LIST_S = 15.0
"""For the whole dialplan; one of FreePBX has some ten thousand lines."""
DELIVERED = frozenset({"connector-bot", "connector-support", "connector-handover"})
"""Contexts of asterisk-conf/connector-extensions.conf: there whether or not anything leads to them."""
_LEADS_THERE = re.compile(r"\bconnector-(bot|support)\b")


async def check_dialplan(subject: str, ami: Ami, app: str, settings: Settings, findings: Findings) -> None:
    """Reads the dialplan (AMI ShowDialPlan, class `reporting`).

    Args:
        subject: For the findings.
        ami: The client, whose items nobody else reads.
        app: Our application.
        settings: Which profiles there are.
        findings: Gets one.
    """
    try:
        async with asyncio.timeout(LIST_S):
            await ami.request_list("ShowDialPlan", deadline_s=LIST_S)
            lines = await _listed(ami)
    except (AmiError, TimeoutError) as error:
        findings.ok(subject, Cause.DIALPLAN, f"what the dialplan does with calls was left out: {error or 'too slow'}")
        return
    judge(subject, lines, app, settings.profile, findings)


async def _listed(ami: Ami) -> Iterable[Mapping[str, Any]]:
    while True:
        item = await ami.items.get()
        if isinstance(item, AmiList) and item.name == "ShowDialPlan":
            return item.items


def judge(
    subject: str, lines: Iterable[Mapping[str, Any]], app: str, profiles: Collection[str], findings: Findings
) -> None:
    """What the lines of a dialplan mean for us.

    Args:
        subject: For the findings.
        lines: Fields of ListDialplan: Context, Application, AppData, IncludeContext.
        app: Our application.
        profiles: Names in the settings; more may come by the API.
        findings: Gets one.
    """
    ours, lead_there, named = False, False, set()
    for line in lines:
        context, does, with_what = (str(line.get(key, "")) for key in ("Context", "Application", "AppData"))
        if does == "Stasis" and with_what.split(",")[0].strip() == app:
            ours = True
            arguments = with_what.split(",")
            profile = arguments[1].strip() if len(arguments) > 1 else ""
            if context not in DELIVERED:
                lead_there = True
                if profile and "$" not in profile:
                    named.add(profile)
        elif context not in DELIVERED and (
            _LEADS_THERE.search(with_what) or _LEADS_THERE.search(str(line.get("IncludeContext", "")))
        ):
            lead_there = True
    unknown = sorted(named.difference(profiles))
    if not ours:
        findings.warning(
            subject,
            Cause.DIALPLAN,
            f"no line of the dialplan is Stasis({app},...), so no call will ever come: include "
            "connector-extensions.conf in extensions.conf and reload, or correct ari.app",
        )
    elif not lead_there:
        findings.warning(
            subject,
            Cause.DIALPLAN,
            f"only the delivered contexts have Stasis({app},...) and nothing leads to them: add "
            "Gosub(connector-bot,s,1(PROFILE)) where calls come in",
        )
    elif unknown:
        findings.warning(
            subject,
            Cause.DIALPLAN,
            f"the dialplan names {', '.join(unknown[:5])}, and the settings have no such profile: unless the API made "
            "it, those calls go on without a bot; correct the name, or add [profile.NAME]",
        )
    else:
        findings.ok(subject, Cause.DIALPLAN, f"the dialplan hands calls to Stasis({app},...)")
