"""Logs: one form, the call on every line of its task, no secret anywhere."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog
from pydantic import SecretStr

from connector import logs
from connector.config import LogSettings


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure(LogSettings(format="json"), stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_secrets_are_redacted_by_type_at_any_depth(output: io.StringIO) -> None:
    structlog.get_logger().info("login", secret=SecretStr("hunter2"), nested={"headers": [SecretStr("hunter2")]})
    assert "hunter2" not in output.getvalue()
    assert lines(output)[0]["nested"] == {"headers": ["**********"]}


def test_what_is_bound_to_a_call_stands_on_each_line(output: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(pbx="main", call_id="1700.1", stream_id="s"):
        structlog.get_logger().info("stream_started")
    structlog.get_logger().info("after")
    first, second = lines(output)
    assert (first["pbx"], first["call_id"], first["stream_id"]) == ("main", "1700.1", "s")
    assert "call_id" not in second


def test_libraries_write_the_same_form_and_panoramisk_nothing_at_all(output: io.StringIO) -> None:
    logging.getLogger("aiohttp").warning("something %s", "odd")
    logging.getLogger("panoramisk.manager").error("Adding action login: Secret: hunter2")
    found = lines(output)
    assert [line["event"] for line in found] == ["something odd"]
    assert found[0]["level"] == "warning"


def test_the_level_is_obeyed(output: io.StringIO) -> None:
    structlog.get_logger().debug("noise")
    assert output.getvalue() == ""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_values_of_variables(output: io.StringIO, form: Literal["json", "console"]) -> None:
    logs.configure(LogSettings(format=form), output)
    password = "".join(["hun", "ter2"])
    try:
        raise RuntimeError("a defect of ours")
    except RuntimeError:
        structlog.get_logger().exception("request_failed")
    assert password
    assert "a defect of ours" in output.getvalue()
    assert "hunter2" not in output.getvalue()
