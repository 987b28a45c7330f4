"""An Asterisk of its own: own folders, own ports, own secrets; one that is running already is never touched."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import structlog

from connector.lab.conf import LabConf, LabPorts, connector_files, new_secret, pbx_files, sample_conf_dir
from connector.lab.ports import HOST, PortBlock

log = structlog.get_logger()

OLDEST_HOST_MAJOR = 18
_PREFIX = "asterisk-lab-"


class LabError(Exception):
    """The laboratory's Asterisk could not be started or asked; the text says why and what to do."""


class LabAsterisk:
    """One private Asterisk, from a root file system or from the machine's own binary.

    `start` and `stop` bracket its life; `kill` and a further `start`, or `restart`, keep folders, ports and secrets.

    Attributes:
        ports: Where it listens, and the ports of its phones.
        ami_user: Login of asterisk-conf's monitor user.
        ami_secret: Its secret.
        ari_user: Login of asterisk-conf's ARI user.
        ari_password: Its password.
        version: For example "22.10.1"; empty before the first start.
    """

    def __init__(
        self,
        rootfs: Path | None,
        *,
        first_port: int = 20000,
        last_port: int = 29999,
        phones: int = 3,
        rtp_ports: int = 200,
        conf: LabConf | None = None,
        secret: Callable[[], str] = new_secret,
        start_timeout_s: float = 60.0,
    ) -> None:
        """Describes it; nothing is made before `start`.

        Args:
            rootfs: Root file system with Asterisk in it; None for the machine's own Asterisk.
            first_port: Lowest port it may take.
            last_port: Highest port it may take.
            phones: How many `agentN` endpoints it has.
            rtp_ports: Size of the RTP range, two to a call leg.
            conf: What else its files say.
            secret: Makes a secret.
            start_timeout_s: Bound of a start.
        """
        self.rootfs = rootfs
        self.conf = conf or LabConf()
        self.ami_user = self.ari_user = "connector"
        self.ami_secret = self.ari_password = ""
        self.version = ""
        self._first_port, self._last_port = first_port, last_port
        self._phones, self._rtp_ports = phones, rtp_ports
        self._secret = secret
        self._start_timeout_s = start_timeout_s
        self._block: PortBlock | None = None
        self._folder: Path | None = None
        self._lock: IO[str] | None = None
        self._process: asyncio.subprocess.Process | None = None

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Its folder as this process sees it: etc, log, run, spool, lib, moh."""
        if self._folder is None:
            raise LabError("the laboratory's Asterisk has no folder: start() it first")
        return self._folder

    @property
    def _open_block(self) -> PortBlock:
        if self._block is None:
            raise LabError("the laboratory's Asterisk has no ports: start() it first")
        return self._block

    @property
    def ports(self) -> LabPorts:
        """All its ports."""
        return self._open_block.ports

    @property
    def ami_port(self) -> int:
        """TCP port of AMI on 127.0.0.1."""
        return self.ports.ami

    @property
    def ari_url(self) -> str:
        """Base of the REST interface, without a slash at the end."""
        return f"http://{HOST}:{self.ports.http}/ari"

    @property
    def sip_port(self) -> int:
        """UDP port of SIP on 127.0.0.1."""
        return self.ports.sip

    @property
    def rtp_range(self) -> tuple[int, int]:
        """First and last UDP port of its RTP range, both included."""
        return self.ports.rtp

    def inside(self, path: Path) -> str:
        """A path within `folder`, as Asterisk itself sees it."""
        return f"{self._inside}/{path.relative_to(self.folder)}"

    @property
    def queue_log(self) -> Path:
        """Asterisk's own account of the queues."""
        return self.folder / "log" / "queue_log"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    def log_lines(self, pattern: str = r"\] (WARNING|ERROR)\[") -> list[str]:
        """Lines of Asterisk's log that match, by default its warnings and errors since the first start."""
        path = self.folder / "log" / "messages"
        text = path.read_text("utf-8", "replace") if path.exists() else ""
        return [line for line in text.splitlines() if re.search(pattern, line)]

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts it and waits until it is fully booted. Folders, ports and secrets are made at the first start.

        Raises:
            LabError: No Asterisk there, too old, not allowed, or it ended or hung while booting.
            NoFreePorts: The port range is full.
        """
        if self.running:
            raise LabError("already started")
        if self._folder is None:
            await self._make()
        try:
            await self._launch()
        except BaseException:
            await asyncio.shield(self.stop())
            raise
        log.info("lab_asterisk_started", version=self.version, sip_port=self.sip_port, ami_port=self.ami_port)

    async def stop(self, *, grace_s: float = 5.0) -> None:
        """Ends it, gently if it lets us, and removes all that it had. May be called at any time, and again."""
        try:
            if self.running:
                with contextlib.suppress(LabError, TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await self.shut_down()
                await self.kill()
        finally:
            if self._folder is not None:
                _remove(self._folder)
                self._folder = None
            if self._lock is not None:
                self._lock.close()
                self._lock = None
            if self._block is not None:
                self._block.close()
                self._block = None

    async def shut_down(self) -> None:
        """Ends it in order, calls and all, and leaves its folder as it is; `start` starts it again."""
        await self.cli("core stop now")
        await self._ended()

    async def kill(self) -> None:
        """Ends it at once by SIGKILL, as a crash would, and leaves its folder as it is."""
        if self._process is None:
            return
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # The group is its own (start_new_session), so nothing else is in it.
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._process = None

    async def restart(self) -> None:
        """Kills it and starts it again on the same folders and ports.

        Raises:
            LabError: As `start`.
        """
        await self.kill()
        await self.start()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    async def cli(self, command: str, *, timeout_s: float = 10.0) -> str:
        """Runs a console command.

        Returns:
            What it printed.

        Raises:
            LabError: It does not run, did not answer in time, or refused the console.
        """
        process = await self._exec("-C", f"{self._inside}/etc/asterisk.conf", "-rx", command)
        try:
            async with asyncio.timeout(timeout_s):
                out, _ = await process.communicate()
        except TimeoutError:
            raise LabError(f"the console did not answer '{command}' within {timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = out.decode("utf-8", "replace")
        if process.returncode or text.startswith("Unable to connect to remote asterisk"):
            raise LabError(f"console command '{command}' failed: {text.strip()}")
        return text

    async def until(self, command: str, holds: Callable[[str], bool], *, timeout_s: float = 10.0) -> str:
        """Asks the console again and again until the condition holds of what it printed.

        Returns:
            What it printed then.

        Raises:
            LabError: The condition did not come true in time; the text ends with what was printed last.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not holds(text := await self.cli(command)):
            if loop.time() > deadline:
                raise LabError(f"'{command}' did not show what was waited for within {timeout_s:g} s:\n{text}")
            await asyncio.sleep(0.03)
        return text

    # -- within ---------------------------------------------------------------------------------------------------

    @property
    def _inside(self) -> str:
        """Its folder as Asterisk sees it."""
        if self.rootfs is None:
            return str(self.folder)
        return "/" + str(self.folder.relative_to(self.rootfs))

    async def _make(self) -> None:
        if self.rootfs is not None and not (self.rootfs / "usr/sbin/asterisk").exists():
            raise LabError(f"no Asterisk in {self.rootfs}: make one with scripts/rootfs")
        if self.rootfs is None and shutil.which("asterisk") is None:
            raise LabError("this machine has no asterisk command: make a root file system with scripts/rootfs")
        self.version = await self._read_version()
        if self.rootfs is None and int(self.version.split(".")[0]) < OLDEST_HOST_MAJOR:
            raise LabError(
                f"this machine's Asterisk is {self.version}, {OLDEST_HOST_MAJOR} is needed: use scripts/rootfs"
            )
        parent = Path(tempfile.gettempdir()) if self.rootfs is None else self.rootfs / "tmp"
        _sweep(parent)
        self._block = PortBlock(self._first_port, self._last_port, phones=self._phones, rtp_ports=self._rtp_ports)
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self._lock = (self._folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._write()
        except OSError as error:
            await self.stop()
            raise LabError(f"cannot write the laboratory's files under {parent}: {error}") from error

    def _write(self) -> None:
        for name in ("etc", "lib", "lib/keys", "log", "run", "spool", "moh"):
            (self.folder / name).mkdir()
        data_dir = "/usr/share/asterisk"
        if not Path(str(self.rootfs or "") + data_dir).is_dir():
            data_dir = "/var/lib/asterisk"  # where Asterisk built from source has it
        files = pbx_files(self.conf, self.ports, self._inside, data_dir)
        if self.conf.connector_conf:
            ours, secrets = connector_files(sample_conf_dir(), self._secret)
            self.ami_secret = secrets["connector-manager.conf"]
            self.ari_password = secrets["connector-ari.conf"]
            files = {**ours, **files}
        for name, text in files.items():
            (self.folder / "etc" / name).write_text(text, "utf-8")
        # Music on hold that is told apart from any other sound of the tests: one second of mu-law silence is enough
        # for a file class to load, and a caller who waits then gets packets.
        (self.folder / "moh" / "silence.ulaw").write_bytes(b"\xff" * 8000)

    async def _launch(self) -> None:
        # A console left over by SIGKILL would answer for the process that is not there yet.
        for stale in ("asterisk.ctl", "asterisk.pid"):
            (self.folder / "run" / stale).unlink(missing_ok=True)
        with (self.folder / "log" / "console").open("ab") as console:
            self._process = await self._exec(
                "-f", "-C", f"{self._inside}/etc/asterisk.conf", output=console.fileno(), bound_to_us=True
            )
        try:
            async with asyncio.timeout(self._start_timeout_s):
                while not await self._booted():
                    if not self.running:
                        raise LabError(
                            f"Asterisk ended while it booted (exit {self._process.returncode})" + self._tail()
                        )
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise LabError(f"Asterisk did not boot within {self._start_timeout_s:g} s" + self._tail()) from None

    async def _booted(self) -> bool:
        if not (self.folder / "run" / "asterisk.ctl").exists():
            return False
        try:
            return "fully booted" in (await self.cli("core waitfullybooted", timeout_s=self._start_timeout_s)).lower()
        except LabError:
            return False

    async def _ended(self) -> None:
        if self._process is not None:
            await self._process.wait()

    async def _read_version(self) -> str:
        process = await self._exec("-V")
        out, _ = await process.communicate()
        found = re.search(rb"Asterisk \D*(\d+(?:\.\d+)+)", out)
        if process.returncode or not found:
            said = out.decode("utf-8", "replace").strip()
            raise LabError(f"cannot run Asterisk of {self.rootfs or 'this machine'}: {said or 'no output'}")
        return found[1].decode()

    def _tail(self) -> str:
        lines = []
        for name in ("messages", "console"):
            path = self.folder / "log" / name
            if path.exists():
                lines += path.read_text("utf-8", "replace").splitlines()[-8:]
        return "; the end of its log:\n" + "\n".join(lines)

    async def _exec(
        self, *arguments: str, output: int = asyncio.subprocess.PIPE, bound_to_us: bool = False
    ) -> asyncio.subprocess.Process:
        # With its own session, Ctrl-C of the terminal reaches us alone and stop() decides the order of the end.
        # Should we be killed ourselves, the kernel ends Asterisk: setpriv stands after the change of user namespace,
        # which would undo it, and is the machine's own, for an old one may not know the kernel's capabilities.
        bound = ("setpriv", "--pdeathsig", "KILL") if bound_to_us else ()
        command = ("asterisk", *arguments)
        if self.rootfs is not None:
            command = ("chroot", str(self.rootfs), *command)
        command = (*bound, *command)
        if self.rootfs is not None and os.geteuid() != 0:
            # Made without root, the tree has no device nodes of its own: lend it those of the machine.
            script = 'mount --rbind /dev "$0/dev" && exec "$@"'
            command = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, str(self.rootfs), *command)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp"}
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise LabError(f"cannot run {command[0]}: it is not installed") from error


def _sweep(parent: Path) -> None:
    """Removes folders of laboratories whose process was killed: nobody holds their lock."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
