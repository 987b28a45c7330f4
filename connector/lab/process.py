"""The product as its operator runs it: `connector run` in a process of its own, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from connector.config import ENV_PREFIX
from connector.lab.asterisk import LabAsterisk, LabError

POLL_S = 0.02


class ConnectorProcess:
    """One connector beside laboratory PBXs. `start` and `stop` bracket its life; `kill` is a crash.

    Attributes:
        settings: Its settings, section by section; may be changed between starts. They go by environment variables,
            so no file with secrets is left behind.
        url: Base of its pages, without a slash at the end.
        log_file: Where its log goes; None for this process's standard error.
    """

    def __init__(
        self,
        *,
        pbxs: Mapping[str, LabAsterisk],
        bots: Mapping[str, str],
        http_port: int,
        rtp_port: int,
        settings: Mapping[str, Any] | None = None,
        log_file: Path | None = None,
        token: str = "",
    ) -> None:
        """Describes it; nothing runs before `start`.

        Args:
            pbxs: The PBXs by name; started already.
            bots: Address of each profile's bot, by profile.
            http_port: For its pages.
            rtp_port: For its audio; one media worker, unless the settings say otherwise.
            settings: More settings, section by section; a profile's keys go over those made from `bots`.
            log_file: Where its log goes; by default to this process's standard error.
            token: Asks with it; without one, nobody needs to log in.
        """
        self.url = f"http://127.0.0.1:{http_port}"
        self.settings: dict[str, Any] = {
            "node": {"drain_s": 0},
            "http": {"port": http_port, "anonymous": "" if token else "admin"},
            "media": {"bind_port": rtp_port, "workers": 1},
            "store": {"directory": str(next(iter(pbxs.values())).folder / f"history-{http_port}")},
            "pbx": {
                name: {
                    "ami": {"port": pbx.ami_port, "username": pbx.ami_user, "secret": pbx.ami_secret},
                    "ari": {"url": pbx.ari_url, "username": pbx.ari_user, "password": pbx.ari_password},
                }
                for name, pbx in pbxs.items()
            },
            "profile": {name: {"url": url} for name, url in bots.items()},
        }
        _merge(self.settings, settings or {})
        self.log_file = log_file
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def pid(self) -> int:
        """Process id of the control process."""
        if self._process is None:
            raise LabError("the connector is not running: start() it first")
        return self._process.pid

    async def start(self, *, ready: bool = True, timeout_s: float = 60.0) -> None:
        """Starts it.

        Args:
            ready: Waits until it is ready, else only until it answers.
            timeout_s: Bound of that wait.

        Raises:
            LabError: It ended, or was not ready in time; with what is missing.
        """
        log = self.log_file.open("ab") if self.log_file else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "connector",
                "run",
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **_environment(self.settings)},
                stderr=log,
                start_new_session=True,  # a Ctrl-C of the terminal is for the one who started it
            )
            await self._wait_until_up(ready, timeout_s)
        except BaseException:
            await asyncio.shield(self.stop())
            raise
        finally:
            if log is not None:
                log.close()

    async def _wait_until_up(self, ready: bool, timeout_s: float) -> None:
        assert self._process is not None
        missing: object = "it does not answer"
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self._process.returncode is not None:
                        raise LabError(f"the connector ended at its start (exit {self._process.returncode})")
                    try:
                        status, missing = await self._get("/readyz" if ready else "/healthz")
                    except aiohttp.ClientError:
                        status = 0
                    if status == 200:
                        return
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise LabError(f"the connector was not ready within {timeout_s:g} s: {missing}") from None

    async def stop(self, *, timeout_s: float = 15.0) -> int:
        """Ends it as an init system would, by SIGTERM; returns its exit code, 0 if it was not running."""
        code = 0
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            try:
                async with asyncio.timeout(timeout_s):
                    code = await self._process.wait()
            except TimeoutError:
                await self.kill()
                code = -signal.SIGKILL
            self._process = None
        if self._http is not None:
            await self._http.close()
            self._http = None
        return code

    async def ended(self, *, timeout_s: float = 15.0) -> int:
        """Waits until it has ended by itself; returns its exit code."""
        assert self._process is not None, "start() it first"
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    async def kill(self) -> None:
        """Ends it by SIGKILL, as a crash would; its worker notices and ends by itself."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            self._process = None

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal, for example SIGSTOP."""
        os.kill(self.pid, number)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    # -- what it shows --------------------------------------------------------------------------------------------

    async def state(self) -> dict[str, Any]:
        """`/api/v1/state`."""
        _, answer = await self._get("/api/v1/state")
        assert isinstance(answer, dict)
        return answer

    async def pbx(self, name: str = "main") -> dict[str, Any]:
        """The part of one PBX."""
        part = (await self.state())["pbx"][name]
        assert isinstance(part, dict)
        return part

    async def until(
        self, condition: Callable[[dict[str, Any]], bool], *, name: str = "main", timeout_s: float = 10.0
    ) -> dict[str, Any]:
        """Asks until the part of one PBX is as wanted; returns it.

        Raises:
            TimeoutError: With the state as it was last.
        """
        last: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    last = await self.pbx(name)
                    if condition(last):
                        return last
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise TimeoutError(f"not within {timeout_s:g} s; the state was {json.dumps(last)}") from None

    async def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """`/metrics` by sample name and labels."""
        async with self._session.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples that have these labels, whatever others they have; 0 where there is none yet."""
        wanted = labels.items()
        return sum(value for (each, has), value in (await self.metrics()).items() if each == name and wanted <= has)

    async def until_metric(
        self, name: str, condition: Callable[[float], bool], *, timeout_s: float = 10.0, **labels: str
    ) -> float:
        """Asks until a metric is as wanted, as `metric` gives it; returns it.

        Raises:
            TimeoutError: With its last value.
        """
        last = 0.0
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    last = await self.metric(name, **labels)
                    if condition(last):
                        return last
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise TimeoutError(f"not within {timeout_s:g} s; {name}{labels} was {last:g}") from None

    async def get(self, path: str) -> dict[str, Any]:
        """What a path of the API answers."""
        status, answer = await self._get(path)
        assert status == 200, f"{path}: {status} {answer}"
        assert isinstance(answer, dict)
        return answer

    async def _get(self, path: str) -> tuple[int, object]:
        async with self._session.get(self.url + path) as answer:
            return answer.status, await answer.json()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=5.0))
        return self._http


def _environment(settings: Mapping[str, Any], prefix: str = ENV_PREFIX) -> dict[str, str]:
    variables: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key.upper()}"
        if isinstance(value, Mapping):
            variables |= _environment(value, f"{name}__")
        else:
            variables[name] = json.dumps(value) if isinstance(value, list | tuple) else str(value)
    return variables


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
