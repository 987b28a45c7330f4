"""Lines and the PBX itself, recorded: a phone that registers, trunks, parking, the end of Asterisk."""

from __future__ import annotations

import asyncio
from pathlib import Path

from connector.lab.asterisk import LabAsterisk
from connector.lab.capture import AmiRecorder, arguments, write
from connector.lab.conf import LabConf
from connector.lab.phone import Phone
from connector.lab.useragent import HOST

PARKED_S = 2
"""How long a parked caller waits before the call comes back."""


def lines_conf() -> LabConf:
    """The configuration of the PBX; it needs no phones."""
    return LabConf(
        append={
            "pjsip.conf": "[desk](phone)\naors = desk\n[desk]\ntype = aor\nmax_contacts = 2\n",
            "res_parking.conf": f"parkingtime = {PARKED_S}\ncomebacktoorigin = no\n",
        },
        extensions="""[from-phones](+)
exten => park,1,Answer()
 same => n,Park()
 same => n,Hangup()
exten => fetch,1,ParkedCall(default,701)
[parkedcalls]
exten => s,1,Wait(30)
""",
    )


async def add_trunks(pbx: LabAsterisk) -> None:
    """Has the PBX register at itself: as `desk`, which it takes, and as somebody who is not there."""
    path = pbx.folder / "etc" / "pjsip.conf"
    text = path.read_text("utf-8")
    for label, user in (("provider", "desk"), ("wrong", "nobody")):
        text += f"""
[{label}]
type = registration
transport = lab-udp
server_uri = sip:{HOST}:{pbx.sip_port}
client_uri = sip:{user}@{HOST}:{pbx.sip_port}
max_random_initial_delay = 0
retry_interval = 1
forbidden_retry_interval = 0
fatal_retry_interval = 0
max_retries = 1
endpoint = caller
line = yes
"""
    path.write_text(text, "utf-8")
    await pbx.cli("module reload res_pjsip_outbound_registration.so")


async def play(pbx: LabAsterisk, ami: AmiRecorder) -> None:
    """The whole story; at its end Asterisk has stopped."""
    server = (HOST, pbx.sip_port)
    async with Phone(0, "desk", server) as desk, Phone(0, "alice", server) as alice, Phone(0, "bob", server) as bob:
        await desk.register(60, user_agent='Desk "2", Ä')
        await ami.wait_for("Event: ContactStatus\r\n")
        await add_trunks(pbx)
        await ami.wait_for("Status: Registered\r\n")
        await ami.wait_for("Status: Rejected\r\n")
        await take_lines(ami, "lines")

        parked = await (await alice.call("park")).wait_answered()
        await ami.wait_for("Event: ParkedCall\r\n")
        fetched = await (await bob.call("fetch")).wait_answered()
        await ami.wait_for("Event: UnParkedCall\r\n")
        await fetched.hang_up()
        await parked.wait_ended()

        parked = await (await alice.call("park")).wait_answered()
        await ami.wait_for("Event: ParkedCall\r\n", count=2)
        await parked.hang_up()
        await ami.wait_for("Event: ParkedCallGiveUp\r\n")

        parked = await (await alice.call("park")).wait_answered()
        await ami.wait_for("Event: ParkedCallTimeOut\r\n", timeout_s=PARKED_S + 10.0)
        await parked.hang_up()
        await pbx.until("core show channels count", lambda text: "0 active channels" in text)
        await pbx.cli("pjsip send unregister provider")
        await ami.wait_for("Status: Unregistered\r\n")
        await desk.register(0)
    await pbx.shut_down()
    await ami.wait_for("Event: Shutdown\r\n")


async def take_lines(ami: AmiRecorder, name: str) -> None:
    """Asks for the lists of trunks and registrations, so that they stand in the recording."""
    await ami.ask("PJSIPShowRegistrationsOutbound", ActionID=f"trunks-{name}")
    await ami.ask("DBGetTree", ActionID=f"contacts-{name}", Family="registrar/contact")


async def record(rootfs: Path, out: Path, *, first_port: int, last_port: int) -> Path:
    """Runs the script and writes `<major>-lines.bin` and `.json`.

    Returns:
        The path of the recording.
    """
    async with LabAsterisk(rootfs, first_port=first_port, last_port=last_port, phones=0, conf=lines_conf()) as pbx:
        ami = await AmiRecorder.connect(pbx.ami_port, pbx.ami_user, pbx.ami_secret)
        try:
            await play(pbx, ami)
        finally:
            await ami.close()
        return write(out, "lines", pbx, ami, {"asterisk": pbx.version, "sip_port": pbx.sip_port})


def main() -> None:
    """Runs the script and records it."""
    given = arguments(__doc__)
    print(asyncio.run(record(given.rootfs, given.out, first_port=given.first_port, last_port=given.last_port)))


if __name__ == "__main__":
    main()
