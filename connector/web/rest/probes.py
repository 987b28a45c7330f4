"""Connection tests: does the PBX let us in, with these settings, from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from connector.web.ports import Live, Probes
from connector.web.rest.endpoint import Call, Deed, Endpoint, Nothing
from connector.web.rest.fields import Name
from connector.web.rest.live import state_of
from connector.web.rest.shapes import ProbeResult


class ProbeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which PBX; its addresses come from the settings, so that nobody can have us connect elsewhere."""

    pbx: Name


class ProbesApi:
    """Runs the tests.

    Args:
        probes: Does them.
        live: Knows the PBXs.
    """

    def __init__(self, probes: Probes, live: Live) -> None:
        self._probes = probes
        self._live = live

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""

        def test(name: str, summary: str, probe: Callable[[str], Awaitable[ProbeResult]]) -> Endpoint:
            async def handle(call: Call[Nothing, Nothing, ProbeBody]) -> ProbeResult:
                return await probe(state_of(self._live, call.body.pbx).pbx)

            return Endpoint("POST", f"/tests/{name}", f"test_{name.replace('-', '_')}", summary, "tests", handle,
                            ProbeResult, body=ProbeBody, problems=(404,),
                            deed=Deed(f"test.{name}", lambda call: call.body.pbx, pbx=lambda call: call.body.pbx,
                                      result=lambda found: "ok" if found.ok else "failed"))  # fmt: skip

        return [
            test("ami", "Log in to the manager interface", lambda pbx: self._probes.ami(pbx)),
            test("ari", "Ask ARI for its version", lambda pbx: self._probes.ari(pbx)),
            test(
                "sip-websocket", "Open the SIP WebSocket of browser phones", lambda pbx: self._probes.sip_websocket(pbx)
            ),
        ]
