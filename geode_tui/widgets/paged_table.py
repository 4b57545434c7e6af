"""A table whose rows are read a page at a time, when they come into view."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from textual.message import Message

from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.virtual_table import Row, TableColumn

PAGE = 100
"""Rows of a page."""
_KEPT = 30
_READING = "…"


class PagedTable[Item](FigureTable):
    """Asks its owner for pages (`PageWanted`), who answers with `take_page`; keeps the last few.

    A subclass says in `cells` how an item looks.
    """

    @dataclass
    class PageWanted(Message):
        """A row of the page `number` came into view and is not known."""

        table: PagedTable[object]
        number: int

        @property
        def control(self) -> PagedTable[object]:
            return self.table

    def __init__(
        self, columns: Sequence[TableColumn], *, empty: str = "", id: str | None = None
    ) -> None:
        super().__init__(columns, empty=empty, id=id)
        self._pages: OrderedDict[int, Sequence[Item]] = OrderedDict()
        self._wanted: set[int] = set()

    @property
    def item(self) -> Item | None:
        """The item under the cursor, None while its page is read."""
        return self._item(self.cursor) if self.row_count else None

    def cells(self, item: Item) -> Row:
        """The cells of an item."""
        raise NotImplementedError

    def show_count(self, count: int, *, keep_cursor: bool = False) -> None:
        """Show so many rows, of which nothing is known yet."""
        self._pages.clear()
        self._wanted.clear()
        self.set_source(count, self._fetch_row, keep_cursor=keep_cursor)

    def take_page(self, number: int, items: Sequence[Item]) -> None:
        """Show the items of a page."""
        self._wanted.discard(number)
        self._pages[number] = items
        while len(self._pages) > _KEPT:
            self._pages.popitem(last=False)
        self.refresh()
        if self.cursor // PAGE == number and self.row_count:
            self.post_message(self.RowHighlighted(self, self.cursor))

    def _item(self, index: int) -> Item | None:
        number, place = divmod(index, PAGE)
        page = self._pages.get(number)
        if page is None:
            if number not in self._wanted:
                self._wanted.add(number)
                self.post_message(self.PageWanted(self, number))  # type: ignore[arg-type]
            return None
        self._pages.move_to_end(number)
        return page[place] if place < len(page) else None

    def _fetch_row(self, index: int) -> Row:
        item = self._item(index)
        return (_READING,) * len(self.columns) if item is None else self.cells(item)
