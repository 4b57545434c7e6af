"""geode-tui: move a PostgreSQL database into the Geode graph database and prove it arrived."""

from __future__ import annotations

__version__ = "0.1.0"
