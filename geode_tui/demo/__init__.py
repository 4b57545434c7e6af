"""A private PostgreSQL and a sample shop in it, to try things out without a database at hand."""

from __future__ import annotations

from geode_tui.demo.binaries import EmbeddedPostgresError
from geode_tui.demo.postgres import EmbeddedPostgres
from geode_tui.demo.shop import MINIMUM_ROWS, SHOP_DATABASE, build_shop, shop_row_counts

__all__ = [
    "MINIMUM_ROWS",
    "SHOP_DATABASE",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "build_shop",
    "shop_row_counts",
]
