"""What a person's browser phone logs in with: given out only where the settings say so, and never to nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from connector.asterisk.ami_model import AmiError
from connector.asterisk.phone_credentials import NoCredentials, PhoneCredentials
from connector.web.auth.identity import ANONYMOUS
from connector.web.ports import Directory
from connector.web.rest.directory import PersonPath, nobody
from connector.web.rest.endpoint import Call, Deed, Endpoint, Nothing
from connector.web.rest.people import OwnInterface
from connector.web.rest.problems import Refused, not_found

ReadCredentials = Callable[[str], Awaitable[PhoneCredentials]]
"""Of an interface; raises what `asterisk.phone_credentials.read_credentials` raises."""


class BrowserPhone(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser phone needs.

    Attributes:
        interface: As queues name it.
        websocket: Address of the PBX's SIP WebSocket; empty where the settings have none.
        user: Of its address: sip:user@host.
        username: To authenticate with.
        password: Keep it in memory alone.
        realm: Empty where the PBX's own counts.
    """

    interface: str
    websocket: str
    user: str
    username: str
    password: str
    realm: str

    def __repr__(self) -> str:
        return f"BrowserPhone({self.interface!r})"


class PhonesApi:
    """Gives them.

    Args:
        directory: The people.
        read: By PBX, for those alone whose settings allow it.
        websockets: Address of the SIP WebSocket by PBX.
    """

    def __init__(
        self, directory: Directory, read: Mapping[str, ReadCredentials], websockets: Mapping[str, str]
    ) -> None:
        self._directory = directory
        self._read = read
        self._websockets = websockets

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("POST", "/directory/people/{person}/browser-phone", "give_browser_phone",
                     "User and password of a person's browser phone", "directory", self._give, BrowserPhone,
                     parameters=PersonPath, body=OwnInterface, problems=(403, 404, 409, 503),
                     deed=Deed("phone.credentials", lambda call: call.path.person, pbx=lambda call: call.body.pbx,
                               detail=lambda call: call.body.interface)),
        ]  # fmt: skip

    async def _give(self, call: Call[PersonPath, Nothing, OwnInterface]) -> BrowserPhone:
        own = call.body
        if call.who.actor == ANONYMOUS:
            raise Refused(403, "forbidden", "Passwords are given to nobody who has not logged in.", remedy="Log in.")
        read = self._read.get(own.pbx)
        if read is None:
            raise Refused(
                403,
                "not-allowed",
                f"Passwords of {own.pbx!r} are not given out.",
                cause=f"pbx.{own.pbx}.browser_phone_credentials is not set.",
                remedy="Set it to true if the API may tell them.",
            )
        person = next((each for each in await self._directory.people() if each.id == call.path.person), None)
        if person is None:
            raise nobody(call.path.person)
        if own not in person.interfaces:
            raise not_found(f"{person.id} does not have {own.interface}.", "See the person's interfaces.")
        try:
            found = await read(own.interface)
        except NoCredentials as error:
            raise Refused(409, "no-credentials", error.reason, remedy=error.remedy) from None
        except AmiError as error:
            raise Refused(
                503, "unavailable", "The PBX cannot be asked now.", cause=str(error), remedy="See the link's state."
            ) from None
        return BrowserPhone(
            interface=own.interface,
            websocket=self._websockets.get(own.pbx, ""),
            user=found.user,
            username=found.username,
            password=found.password,
            realm=found.realm,
        )
