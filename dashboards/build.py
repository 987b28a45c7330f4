"""Writes Grafana's JSON of every page: `python -m dashboards.build`. A test holds the files to the code."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import agents, audio, connector, contact_centre, pbx, queue_detail, streams
from dashboards.panels import Page, build

FOLDER = Path(__file__).parent / "grafana"


def pages() -> list[Page]:
    """All pages, in the order of the menu."""
    modules = (contact_centre, queue_detail, agents, streams, audio, connector, pbx)
    return [module.page() for module in modules]


def rendered(page: Page) -> str:
    """The page as Grafana imports it."""
    text = json.dumps(build(page), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False)
    return text + "\n"


def main() -> None:
    """Writes all of them."""
    FOLDER.mkdir(exist_ok=True)
    for page in pages():
        (FOLDER / f"{page.uid}.json").write_text(rendered(page), "utf-8")


if __name__ == "__main__":
    main()
