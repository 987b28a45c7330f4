"""`connector profile`: what can be done about a profile from the command line."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from connector import config, logs
from connector.config import Settings

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2


def add_profile_commands(
    commands: Any,
    config_argument: Callable[[argparse.ArgumentParser], None],
    load: Callable[[argparse.Namespace], Settings],
) -> None:
    """Adds `profile` and its deeds to the parser.

    Args:
        commands: Of the parser.
        config_argument: Adds --config.
        load: Reads the settings.
    """
    profile = commands.add_parser("profile", help="the profiles of bots")
    deeds = profile.add_subparsers(required=True, metavar="deed")
    test = deeds.add_parser(
        "test",
        help="call its bot as a script says and tell what it does wrong, without a PBX; exit code 1 if anything is",
    )
    config_argument(test)
    test.add_argument("name", help="of the profile")
    test.add_argument("--say", type=Path, default=None, metavar="FILE", help="WAV file that the caller says")
    test.add_argument("--quick", action="store_true", help="one call, without a slow network, and no second connection")
    test.add_argument("--json", action="store_true", help="the report as JSON")
    test.set_defaults(handler=lambda arguments: _test(arguments, load(arguments)))


def _test(arguments: argparse.Namespace, settings: Settings) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from connector.store.database import BadUrl, why
    from connector.trial.caller import spoken, voice
    from connector.trial.report import Report
    from connector.trial.run import find, media, try_profile

    logs.configure(config.LogSettings(level="error"), io.StringIO())  # the report says it all

    async def work() -> Report:
        profile, trusted = await find(settings, arguments.name)
        say = voice if arguments.say is None else spoken(arguments.say)
        async with media(settings) as engine:
            return await try_profile(
                settings, engine, arguments.name, profile, trusted=trusted, quick=arguments.quick, say=say
            )

    try:
        report = uvloop.run(work())
    except KeyError:
        there = ", ".join(sorted(settings.profile)) or "none"
        print(f"connector: there is no profile {arguments.name}; the settings file has: {there}", file=sys.stderr)
        return EXIT_USAGE
    except (SQLAlchemyError, BadUrl) as error:
        print(f"connector: {why(error) if isinstance(error, SQLAlchemyError) else error}", file=sys.stderr)
        return EXIT_FAILED
    except (OSError, ValueError) as error:
        print(f"connector: {arguments.say}: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(json.dumps(report.as_dict(), indent=2) if arguments.json else report)
    return EXIT_OK if report.passed else EXIT_FAILED
