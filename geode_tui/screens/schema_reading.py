"""What the Schema screen reads from the source for the table in view: rows, statistics, counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from textual import work
from textual.worker import Worker

from geode_tui.catalog import Catalog, Column, Orphans, Profile, Table, TableName
from geode_tui.errors import GeodeTuiError
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import TextDialog
from geode_tui.source.postgres import Source
from geode_tui.widgets.er_model import Incoming
from geode_tui.widgets.profile_page import KeyProfile, keys_of, values_text
from geode_tui.widgets.table_detail import TableDetail

NO_SOURCE = "no live source: the catalog comes from a file"
_SAMPLE_ROWS = 50
_VALUES = 100
_REST_SECONDS = 0.15


class TableReading(GeodeScreen):
    """A screen with a table in view, of which only what is looked at is read.

    The workers have a description because Textual would make one of their arguments, and a catalog
    of 2,000 tables takes a fifth of a second to write down.
    """

    def __init__(self) -> None:
        super().__init__()
        self._catalog: Catalog | None = None
        self._incoming: Incoming = {}
        self._table: Table | None = None
        self._sampled: TableName | None = None
        self._profile: Profile | None = None

    @property
    def _detail(self) -> TableDetail:
        return self.query_one(TableDetail)

    def worker_failed(self, worker: Worker[object], error: GeodeTuiError) -> None:
        """What cannot be read says so in its place."""
        text = "✗ " + "\n".join(error.lines())
        if worker.group == "sample":
            self._detail.show_sample((), text)
        elif worker.group == "profile":
            self._detail.profile.tell(text)
        else:
            super().worker_failed(worker, error)

    def action_read_rows(self) -> None:
        """Read the sample, again if it was read."""
        if self._table:
            self._read_rows(self._table)

    def action_count(self) -> None:
        """Count what the planner's statistics do not tell."""
        if self._table and self._catalog:
            self._count(self._table, self._catalog)

    def _read_when_wanted(self) -> None:
        """Read only what is looked at, and rows only of what is stored here."""
        table, page = self._table, self._detail.page
        if table is None:
            return
        self.workers.cancel_group(self, "profile")
        if page == "profile" and self._catalog:
            self._read_profile(table, self._catalog)
        if page != "rows" or self._sampled == table.name:
            return
        self.workers.cancel_group(self, "sample")
        self._sampled = None
        if table.has_storage or self.workspace.source is None:
            self._read_rows(table)
        else:
            text = f"reading a {table.kind} can be slow: r reads {_SAMPLE_ROWS} rows"
            self._detail.show_sample((), text)

    @work(group="sample", description="read rows", exclusive=True, exit_on_error=False)
    async def _read_rows(self, table: Table) -> None:
        if self.workspace.source is None:
            self._detail.show_sample((), NO_SOURCE)
            return
        self._detail.show_sample((), "… reading")
        await asyncio.sleep(_REST_SECONDS)  # a cursor that runs through the tree reads nothing
        rows = await self.workspace.source.sample(table, _SAMPLE_ROWS)
        if table is self._table:
            self._sampled = table.name
            self._detail.show_sample(rows, "the table is empty")

    @work(group="profile", description="read statistics", exclusive=True, exit_on_error=False)
    async def _read_profile(self, table: Table, catalog: Catalog) -> None:
        """The planner's statistics: of all tables at once, so they are read once."""
        page, keys = self._detail.profile, keys_of(table, self._incoming)
        page.show(table, self._profile, keys)
        if self.workspace.source is None:
            page.tell(NO_SOURCE)
            return
        if self._profile is None:
            page.tell("… reading the planner's statistics")
            await asyncio.sleep(_REST_SECONDS)
            self._profile = await self.workspace.source.profile(catalog)
            page.show(table, self._profile, keys)
        page.tell("the planner's statistics · s counts fan-out, orphans and the longest values")

    @work(group="profile", description="count", exclusive=True, exit_on_error=False)
    async def _count(self, table: Table, catalog: Catalog) -> None:
        """Widths of the columns, then the foreign keys one by one."""
        page, source = self._detail.profile, self.workspace.source
        if source is None:
            page.tell(NO_SOURCE)
            return
        keys = keys_of(table, self._incoming)
        page.tell("… measuring the longest values")
        widths = await source.widest(table)
        for index, key in enumerate(keys):
            page.show(table, self._profile, keys, widths)
            page.tell(f"… counting foreign key {index + 1} of {len(keys)}")
            keys[index] = await _counted(source, key, catalog)
        page.show(table, self._profile, keys, widths)
        whole = "" if widths else "the longest values took too long · "
        page.tell(f"{whole}counted now; the common values are the planner's")

    @work(group="values", description="read values", exclusive=True, exit_on_error=False)
    async def _show_values(self, table: Table, column: Column) -> None:
        """The values of a column as they are now, where there is a source to ask."""
        text = self._detail.profile.column_text(column.name)
        source = self.workspace.source
        if source is not None:
            self.say(f"reading the values of {column.name} …")
            text += "\n\n" + values_text(await source.column_values(table, column.name, _VALUES))
        self.app.push_screen(TextDialog(f"values of {column.name}", text))


async def _counted(source: Source, profile: KeyProfile, catalog: Catalog) -> KeyProfile:
    """A key with its fan-out, and its orphans where it is not enforced; or why not."""
    owner, key = profile.owner, profile.key
    try:
        fan_out = await source.fan_out(owner, key.columns)
        orphans: Orphans | None = None
        to_table = catalog.table(key.to_table)
        if not key.validated and to_table:
            orphans = await source.orphans(owner, key.columns, to_table, key.to_columns)
    except GeodeTuiError as error:
        return replace(profile, problem=f"✗ {error.what}")
    problem = "" if fan_out else "took too long"
    return replace(profile, fan_out=fan_out, orphans=orphans, problem=problem)
