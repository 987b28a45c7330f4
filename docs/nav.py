"""The order of the pages in the site, as a hook of mkdocs. A page that is not named here stands at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent

SECTIONS: dict[str, tuple[str, ...]] = {
    "Begin": ("index.md", "start.md", "concepts.md"),
    "Install": (
        "install.md",
        "asterisk-conf.md",
        "freepbx.md",
        "containers.md",
        "check.md",
        "sizing.md",
        "security.md",
        "access.md",
        "configuration.md",
    ),
    "Bots": (
        "profiles.md",
        "profile-test.md",
        "handover.md",
        "steps.md",
        "audio.md",
        "quality.md",
        "recording.md",
        "taps.md",
        "dialects/README.md",
    ),
    "Contact centre": ("wallboard.md", "figures.md", "actions.md", "history.md"),
    "Interfaces": (
        "rest.md",
        "rest-reference.md",
        "push.md",
        "webhooks.md",
        "nats.md",
        "vendor-api.md",
        "ringcx-api.md",
        "metrics.md",
        "tracing.md",
    ),
    "Operate": ("dashboards.md", "runbooks.md", "troubleshooting.md", "bench.md"),
    "Build": ("architecture.md", "licences.md"),
}
FOLDERS = {"dialects": "Bots", "recipes": "Build", "adr": "Build"}
"""Whose pages follow those of a section."""
LAST = "More"


def pages() -> dict[str, list[str]]:
    """All pages of the site, by section."""
    there = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
    nav = {title: [page for page in names if page in there] for title, names in SECTIONS.items()}
    named = {page for names in nav.values() for page in names}
    for page in there:
        if page not in named:
            nav.setdefault(FOLDERS.get(page.partition("/")[0], LAST) if "/" in page else LAST, []).append(page)
    return nav


def on_config(config: Any) -> Any:
    """Called by mkdocs before it reads the pages."""
    config["nav"] = [{title: names} for title, names in pages().items()]
    return config
