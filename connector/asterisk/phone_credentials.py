"""User and password of an endpoint that a browser may use, read from the PBX when they are asked for and kept nowhere.

PJSIP has them in objects of type auth. AMI shows those to `write=reporting` by a dialplan function (func_sorcery,
Asterisk 16 and 22), so whoever has such a login could read every password of the PBX: see docs/asterisk-conf.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from connector.asterisk.ami import Ami

_NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,80}")
"""An endpoint or auth whose name can stand in a dialplan function without being read as anything else."""


class NoCredentials(Exception):
    """There are none to give; `reason` is a sentence, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True, slots=True)
class PhoneCredentials:
    """What a browser phone logs in with.

    Attributes:
        user: Of the address of record: sip:user@the PBX.
        username: Of the authentication.
        password: Shown nowhere but in the answer.
        realm: Empty where the PBX's own counts.
    """

    user: str
    username: str
    password: str = field(repr=False)
    realm: str


async def read_credentials(ami: Ami, interface: str) -> PhoneCredentials:
    """Reads them.

    Args:
        ami: Connected.
        interface: For example PJSIP/anna; of an endpoint with `webrtc = yes`, so that no desk phone's are given.

    Raises:
        NoCredentials: It is no browser phone, or has no password that can be told.
        AmiError: The PBX cannot be asked.
    """
    technology, _, endpoint = interface.partition("/")
    if technology != "PJSIP" or not _NAME.fullmatch(endpoint):
        raise NoCredentials(f"{interface} is no endpoint of PJSIP.", "Give a PJSIP endpoint with webrtc = yes.")

    async def value(function: str) -> str:
        answer = await ami.action("Getvar", Variable=function)
        return str(answer.fields.get("Value", ""))

    if await value(f"PJSIP_ENDPOINT({endpoint},webrtc)") != "yes":
        raise NoCredentials(
            f"{interface} is no browser phone.",
            f"Set webrtc = yes at the endpoint {endpoint} in pjsip.conf if it is one.",
        )
    auth = (await value(f"PJSIP_ENDPOINT({endpoint},auth)")).partition(",")[0]
    if not _NAME.fullmatch(auth):
        raise NoCredentials(f"{interface} has no auth.", f"Give the endpoint {endpoint} an auth in pjsip.conf.")
    username, password, realm = [
        await value(f"AST_SORCERY(res_pjsip,auth,{auth},{each})") for each in ("username", "password", "realm")
    ]
    if not username or not password:
        raise NoCredentials(
            f"The auth {auth} of {interface} tells no username and password.",
            "It needs auth_type = userpass, and the PBX func_sorcery.so; a hash (md5) cannot be turned back.",
        )
    user = (await value(f"PJSIP_ENDPOINT({endpoint},aors)")).partition(",")[0] or endpoint
    return PhoneCredentials(user=user, username=username, password=password, realm=realm)
