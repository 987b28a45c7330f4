"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A test that runs a command of the program leaves its level of logging behind."""
    yield
    structlog.reset_defaults()
