"""The screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Footer, Input, Static

from connector.top.feed import Feed
from connector.top.tables import AGENT_COLUMNS, CALLER_COLUMNS, QUEUE_COLUMNS, Row, view

REFRESH_S = 0.5
"""How often durations are counted on, and the most often the screen is drawn."""


class Top(App[None]):
    """Queues, waiting callers and agents; grey while they are not current.

    Args:
        feed: What is shown.
    """

    TITLE = "connector top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #freshness { height: auto; padding: 0 1; background: $success-darken-2; }
    #freshness.stale { background: $error; text-style: bold; }
    .stale-table { opacity: 40%; }
    #queues { height: 2fr; border: round $primary; }
    #lower { height: 3fr; }
    #callers { width: 1fr; border: round $primary; }
    #agents { width: 2fr; border: round $primary; }
    #search { display: none; }
    #search.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("slash", "search", "Search"),
        Binding("escape", "clear", "Clear", show=False),
    ]

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._search = ""
        self._following: asyncio.Task[None] | None = None
        self._dirty = True

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Static("", id="freshness", markup=False)
        yield Input(placeholder="part of a name", id="search")
        yield _table("queues", "Queues", QUEUE_COLUMNS)
        with Horizontal(id="lower"):
            yield _table("callers", "Waiting callers", CALLER_COLUMNS)
            yield _table("agents", "Agents", AGENT_COLUMNS)
        yield Footer()

    def on_mount(self) -> None:
        """Begins to follow."""
        self.query_one("#queues").focus()
        self._following = asyncio.create_task(self._feed.run(lambda: None), name="push-feed")
        self.set_interval(REFRESH_S, self.refresh_view)
        self.refresh_view()

    async def on_unmount(self) -> None:
        """Ends the connection."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    def refresh_view(self) -> None:
        """Draws what is known now."""
        if self._following is not None and self._following.done() and not self._following.cancelled():
            self._following.result()  # a defect must not look like an empty call centre
        feed = self._feed
        # While it is not current, durations stand still: they would grow though nobody knows.
        now = feed.copy.at if feed.broken and feed.copy.at else feed.now
        shown = view(
            feed.copy.items.values(),
            now,
            broken=feed.broken,
            broken_s=feed.broken_s,
            search=self._search,
        )
        freshness = self.query_one("#freshness", Static)
        freshness.set_class(bool(shown.stale), "stale")
        if shown.stale:
            when = datetime.fromtimestamp(feed.copy.at).astimezone().strftime("%H:%M:%S") if feed.copy.at else "never"
            freshness.update("OLD, last heard " + when + " · " + " · ".join(shown.stale))
        else:
            freshness.update(f"live · {len(shown.callers)} waiting · {len(shown.agents)} agents")
        for name, rows in (("queues", shown.queues), ("callers", shown.callers), ("agents", shown.agents)):
            table: DataTable[str] = self.query_one(f"#{name}", DataTable)
            table.set_class(bool(shown.stale), "stale-table")
            _fill(table, rows)

    # -- keys -----------------------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Asks for a part of a name."""
        box = self.query_one("#search", Input)
        box.add_class("open")
        box.focus()

    def action_clear(self) -> None:
        """Shows everything."""
        box = self.query_one("#search", Input)
        box.value = ""
        box.remove_class("open")
        self._search = ""
        self.query_one("#queues").focus()
        self.refresh_view()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Shows what fits."""
        self._search = event.value
        self.refresh_view()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Leaves the box and keeps what it says."""
        self.query_one("#queues").focus()


def _table(name: str, title: str, columns: Sequence[str]) -> DataTable[str]:
    table: DataTable[str] = DataTable(id=name, cursor_type="row", zebra_stripes=True)
    table.border_title = title
    for column in columns:
        table.add_column(column, key=column)
    return table


def _fill(table: DataTable[str], rows: list[Row]) -> None:
    """Shows the rows; those that stay are changed in place, so that nothing flickers and the cursor stays."""
    known = [key.value for key in table.rows]
    if known != [key for key, _ in rows]:
        cursor, scroll = table.cursor_row, table.scroll_y
        table.clear()
        for key, cells in rows:
            table.add_row(*(Text(cell) for cell in cells), key=key)  # type: ignore[arg-type]
        if rows:
            table.move_cursor(row=min(cursor, len(rows) - 1))
            table.scroll_to(y=scroll, animate=False)
        return
    columns = [column.value for column in table.columns]
    for key, cells in rows:
        shown = table.get_row(key)
        for column, old, new in zip(columns, shown, cells, strict=True):
            if str(old) != new and column is not None:
                table.update_cell(key, column, Text(new))  # type: ignore[arg-type]
