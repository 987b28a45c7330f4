"""Real Prometheus over real calls: every panel has data, and a fault becomes an alert that arrives at a webhook."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.echo_bot import bot
from connector.lab.process import ConnectorProcess
from connector.lab.traffic import Traffic
from dashboards.build import pages
from dashboards.panels import Query

RULES = Path(__file__).parents[2] / "dashboards" / "prometheus" / "connector.rules.yml"
DEADLINE_S = 40.0


@contextlib.asynccontextmanager
async def running(program: str, *arguments: str, log: Path) -> AsyncIterator[None]:
    """A program of Debian's, ended at the end."""
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"{program} is missing: run scripts/setup test")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            path, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


class Pager:
    """A webhook that keeps what Alertmanager tells it."""

    def __init__(self) -> None:
        self.firing: set[str] = set()
        self.summaries: list[str] = []
        self._told = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        for alert in (await request.json())["alerts"]:
            if alert["status"] == "firing":
                self.firing.add(alert["labels"]["alertname"])
                self.summaries.append(alert["annotations"]["summary"])
        async with self._told:
            self._told.notify_all()
        return web.Response()

    async def until_firing(self, alert: str) -> None:
        async with asyncio.timeout(DEADLINE_S), self._told:
            await self._told.wait_for(lambda: alert in self.firing)


@contextlib.asynccontextmanager
async def listening(pager: Pager, port: int) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/alerts", pager.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/alerts"
    finally:
        await runner.cleanup()


class Prometheus:
    """Asks a Prometheus."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def series(self, expr: str) -> list[Any]:
        async with self._session.get(f"{self.url}/api/v1/query", params={"query": expr}) as answer:
            body = await answer.json()
        assert body["status"] == "success", f"{expr}: {body}"
        result: list[Any] = body["data"]["result"]
        return result

    async def until(self, expr: str, holds: Callable[[list[Any]], bool] = bool, what: str = "") -> None:
        seen: object = "it does not answer"
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    with contextlib.suppress(aiohttp.ClientError):  # it is not ready: no answer, or text with 503
                        seen = await self.series(expr)
                        if isinstance(seen, list) and holds(seen):
                            return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{what} {expr}: {seen}")


def all_chosen(query: Query) -> str:
    """The query as Grafana sends it when every variable stands on All."""
    return re.sub(r"\$\w+", ".*", query.expr)


def finite(series: list[Any]) -> bool:
    """Whether there is at least one number: a rate of nothing by nothing is NaN."""
    return any(sample["value"][1] not in {"NaN", "+Inf", "-Inf"} for sample in series)


@pytest.mark.parametrize("rootfs", ["22"], indirect=True)  # res_prometheus is not in Asterisk 16
async def test_every_panel_has_data_and_a_fault_arrives_at_a_webhook(make_asterisk: Any, tmp_path: Path) -> None:
    prometheus_conf = {"prometheus.conf": "[general]\nenabled = yes\ncore_metrics_enabled = yes\nuri = metrics\n"}
    async with contextlib.AsyncExitStack() as stack:
        pbx: LabAsterisk = await stack.enter_async_context(make_asterisk(conf=LabConf(files=prometheus_conf)))
        await pbx.cli("module load res_prometheus.so")
        bot_port = await stack.enter_async_context(bot("127.0.0.1", 0, "echo"))
        http, rtp, server, manager, cluster, pager_port = pbx.ports.spare[:6]
        connector = await stack.enter_async_context(
            ConnectorProcess(
                pbxs={"main": pbx},
                bots={"echo": f"ws://127.0.0.1:{bot_port}/"},
                http_port=http,
                rtp_port=rtp,
                log_file=tmp_path / "connector.log",
            )
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        pager = Pager()
        hook = await stack.enter_async_context(listening(pager, pager_port))
        asterisk_http = pbx.ari_url.split("/")[2]
        await stack.enter_async_context(_alertmanager(tmp_path, hook, manager, cluster))
        await stack.enter_async_context(_prometheus(tmp_path, server, manager, connector, asterisk_http))
        prometheus = Prometheus(f"http://127.0.0.1:{server}", session)

        traffic = Traffic(pbx, Random(3))
        calling = asyncio.create_task(traffic.run())
        try:
            await prometheus.until("connector_queue_calls_total{outcome='answered'} > 1")
            await prometheus.until("connector_queue_calls_total{outcome='abandoned'} > 0")
            await prometheus.until("sum(connector_streams_total) > 1")
            await _every_query_answers(prometheus)
            # A machine with too much to do is told of rightly, so only what is about the PBX is asked for here.
            assert not {name for name in pager.firing if name.startswith("Connector")}
        finally:
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        await pbx.kill()
        await pager.until_firing("ConnectorLinkDown")
        assert any("No ami connection to main" in summary for summary in pager.summaries)


async def _every_query_answers(prometheus: Prometheus) -> None:
    for page in pages():
        for panel in page.panels():
            for query in panel.queries:
                expr = all_chosen(query)
                if query.may_be_empty:
                    await prometheus.series(expr)  # it is understood
                else:
                    await prometheus.until(expr, finite, what=f"{page.title} / {panel.title}")


def _prometheus(
    folder: Path, port: int, manager: int, connector: ConnectorProcess, asterisk: str
) -> contextlib.AbstractAsyncContextManager[None]:
    # The waiting times of the rules are for people; the test has none.
    rules = re.sub(r"^(\s+)for: .*$", r"\1for: 2s", RULES.read_text("utf-8"), flags=re.MULTILINE)
    (folder / "rules.yml").write_text(rules)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager}"]}]}]},
        "scrape_configs": [
            {"job_name": "connector", "static_configs": [{"targets": [connector.url.removeprefix("http://")]}]},
            {"job_name": "asterisk", "static_configs": [{"targets": [asterisk]}]},
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    return running(
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        log=folder / "prometheus.log",
    )


def _alertmanager(folder: Path, hook: str, port: int, cluster: int) -> contextlib.AbstractAsyncContextManager[None]:
    config = {
        "route": {"receiver": "pager", "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"},
        "receivers": [{"name": "pager", "webhook_configs": [{"url": hook}]}],
    }
    (folder / "alertmanager.yml").write_text(json.dumps(config))
    return running(
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--cluster.listen-address=127.0.0.1:{cluster}",
        log=folder / "alertmanager.log",
    )
