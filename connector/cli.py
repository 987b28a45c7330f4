"""The `connector` command: thin, each subcommand hands over to the part that does it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Coroutine, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import uvloop

from connector import __version__, config, logs
from connector.cli_accounts import add_user_commands
from connector.cli_profiles import add_profile_commands

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a restart does not mend it, so an init system should not try."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `connector` command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.handler(arguments))
    except config.ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_CONFIG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="connector", description="A streaming voice interface and a live view of the queues for Asterisk."
    )
    parser.add_argument("--version", action="version", version=f"connector {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="run beside the PBX until SIGTERM or Ctrl-C")
    _config_argument(run)
    run.set_defaults(handler=_run)

    check = commands.add_parser("check", help="say what is wrong before a call does; exit code 1 if anything is")
    _config_argument(check)
    check.add_argument("--json", action="store_true", help="findings as JSON")
    check.add_argument("--audio", action="store_true", help="place a test call too: round trip, levels and loss")
    check.set_defaults(handler=_check)

    show = commands.add_parser("config", help="print the settings in effect, secrets hidden")
    _config_argument(show)
    show.add_argument("--schema", action="store_true", help="print the JSON Schema of the settings file instead")
    show.set_defaults(handler=_config)

    database = commands.add_parser("db", help="the database of history")
    deeds = database.add_subparsers(required=True, metavar="deed")
    upgrade = deeds.add_parser("upgrade", help="make or alter its tables as this version needs them; run does it too")
    _config_argument(upgrade)
    upgrade.set_defaults(handler=_db_upgrade)

    add_user_commands(commands, _config_argument, lambda arguments: _load(arguments))
    add_profile_commands(commands, _config_argument, lambda arguments: _load(arguments))

    export = commands.add_parser("export", help="write history to a file, as CSV or Parquet")
    _config_argument(export)
    export.add_argument("table", help="calls, visits, timeline, agent_intervals, queues, agents, streams or audit")
    export.add_argument("file", type=Path)
    export.add_argument(
        "--from", dest="since", type=_moment, default=0.0, metavar="TIME", help="ISO 8601; default: all"
    )
    export.add_argument("--to", dest="until", type=_moment, default=None, metavar="TIME", help="default: now")
    export.add_argument("--format", dest="form", choices=("csv", "parquet"), default="csv")
    export.add_argument("--pbx", default="", help="only of this PBX")
    export.set_defaults(handler=_export)

    top = commands.add_parser(
        "top",
        help="the live queues in a terminal, from a running connector; CONNECTOR_TOKEN in the environment lets it in",
    )
    _config_argument(top)
    top.add_argument("--url", default="", help="of the connector; default: as the settings say where it listens")
    top.add_argument("--pbx", action="append", metavar="NAME", help="only this PBX; may be given again")
    top.add_argument("--queue", action="append", metavar="NAME", help="only this queue; may be given again")
    top.set_defaults(handler=_top)

    demo = commands.add_parser("demo", help="the main job on an Asterisk of its own, with callers, agents and a bot")
    demo.add_argument("--seconds", type=float, default=None, help="end after this long; else at Ctrl-C")
    demo.add_argument("--report", type=Path, default=None, help="JSON report; exit code 0 only if it agrees")
    demo.add_argument("--asterisk", type=Path, default=None, help="its root file system; / for the host's")
    demo.set_defaults(handler=_demo)
    return parser


def _config_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=None,
        metavar="FILE",
        help="settings (TOML); default: $CONNECTOR_CONFIG, else the environment variables CONNECTOR__... alone",
    )


def _load(arguments: argparse.Namespace) -> config.Settings:
    path = arguments.config
    if path is None and "CONNECTOR_CONFIG" in os.environ:
        path = Path(os.environ["CONNECTOR_CONFIG"])
    settings = config.load(path, os.environ)
    logs.configure(settings.log)
    return settings


def _run(arguments: argparse.Namespace) -> int:
    from connector.pbx_clients import StartFailed
    from connector.serve import serve

    settings = _load(arguments)
    try:
        uvloop.run(serve(settings, lambda: _load(arguments)))
    except StartFailed as error:
        print(f"connector: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> int:
    from connector.check import Level, check

    settings = _load(arguments)
    logs.configure(config.LogSettings(level="error"))  # the findings say it all
    findings = uvloop.run(check(settings, audio=arguments.audio))
    if arguments.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    return EXIT_FAILED if any(finding.level is Level.ERROR for finding in findings) else EXIT_OK


def _config(arguments: argparse.Namespace) -> int:
    shown = config.schema() if arguments.schema else config.effective(_load(arguments))
    print(json.dumps(shown, indent=2, sort_keys=arguments.schema))
    return EXIT_OK


def _db_upgrade(arguments: argparse.Namespace) -> int:
    from connector.store.service import open_database

    async def upgrade() -> None:
        database = open_database(_load(arguments))
        try:
            await database.migrate()
        finally:
            await database.close()

    return _with_database(upgrade())


def _export(arguments: argparse.Namespace) -> int:
    from connector.store.export import TABLES, NoParquet, export
    from connector.store.service import open_database

    if arguments.table not in TABLES:
        print(f"connector: there is no table {arguments.table}; there are: {', '.join(TABLES)}", file=sys.stderr)
        return EXIT_USAGE

    async def write() -> None:
        database = open_database(_load(arguments))
        try:
            rows = await export(
                database,
                arguments.table,
                since=arguments.since,
                until=time.time() if arguments.until is None else arguments.until,
                file=arguments.file,
                form=arguments.form,
                pbx=arguments.pbx,
            )
        finally:
            await database.close()
        print(f"{arguments.file}: {rows} rows")

    try:
        return _with_database(write())
    except NoParquet as error:
        print(f"connector: {error}", file=sys.stderr)
        return EXIT_FAILED


def _with_database(work: Coroutine[Any, Any, None]) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from connector.store.database import BadUrl, NewerTables, why

    try:
        uvloop.run(work)
    except NewerTables as error:
        print(f"connector: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BadUrl as error:
        print(f"connector: store.url: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except (SQLAlchemyError, OSError) as error:
        print(f"connector: {why(error)}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _moment(text: str) -> float:
    """A time of the command line, seconds since the epoch; the machine's own zone where none is given."""
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no time: write for example 2026-11-21T08:00") from None


def _top(arguments: argparse.Namespace) -> int:
    from connector.top.run import run_top

    url = arguments.url
    if not url:
        http = _load(arguments).http
        scheme = "https" if http.tls_certificate else "http"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)
        url = f"{scheme}://[{host}]:{http.port}" if ":" in host else f"{scheme}://{host}:{http.port}"
    token = os.environ.get("CONNECTOR_TOKEN", "")
    return run_top(url=url, token=token, pbxs=arguments.pbx, queues=arguments.queue)


def _demo(arguments: argparse.Namespace) -> int:
    from connector.demo import run_demo

    logs.configure(config.LogSettings(level="warning"))
    return run_demo(seconds=arguments.seconds, report=arguments.report, rootfs=arguments.asterisk)
