"""The graph: one protocol, and the graphs that speak it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geode_tui.errors import UsageError
from geode_tui.target import credentials
from geode_tui.target.geode_dsn import is_geode, parse_address
from geode_tui.target.model import NodeShape, Target


def target_exists(place: str) -> bool:
    """Whether there is something at a target's place; of a server only connecting tells."""
    return is_geode(place) or Path(place).exists()


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What is needed to open a target to write, here or in another process.

    `format` is that of files (`json`, `jsonl`, `csv`), empty for a graph; `compression` of files.
    `probed` is what an open target has found out of it: another process need not ask again.
    """

    place: str
    graph: str = ""
    format: str = ""
    compression: str = ""
    probed: Any = None

    def open(self) -> Target:
        """Open the target. Raises UsageError, ConnectError."""
        if not self.format:
            return open_target(self.place, self.graph or None, probed=self.probed)
        from geode_tui.target.file_formats import form_of
        from geode_tui.target.files import FileTarget

        form = form_of(self.place, self.format, self.compression or None)
        return FileTarget(self.place, form)


def preparation(place: str, graph: str | None, nodes: Sequence[NodeShape]) -> list[str]:
    """What a run would have a target do before its first row; nothing is written.

    Raises UsageError for a place of another kind, ConnectError when it cannot be looked at.
    """
    from geode_tui.target import embedded_keys

    if is_geode(place):
        target = open_target(place, graph, create=False, read_only=True)
        try:
            return target.missing(nodes)
        finally:
            target.close()
    there: set[str] = set()
    if target_exists(place):
        target = open_target(place, graph, create=False, read_only=True)
        try:
            found = (*target.query("SHOW INDEXES"), *target.query("SHOW CONSTRAINTS"))
            there = {row["name"] for row in found}
        finally:
            target.close()
    return embedded_keys.preparation(graph or "", nodes, there)


def open_target(
    place: str,
    graph: str | None = None,
    *,
    create: bool = True,
    read_only: bool = False,
    probed: Any = None,
) -> Target:
    """Open a target by its place: a path that ends in `.grafeo`, or the DSN of a Geode server.

    `create` makes what is not there; `read_only` refuses every statement that writes. The password
    of a server is that of its DSN, else the one that `credentials` knows. `probed` is what another
    open target of the same server has found out of it.

    Raises UsageError for a place of another kind, ConnectError when it cannot be opened.
    """
    if is_geode(place):
        return _open_geode(place, graph, create, read_only, probed)
    if not place.endswith(".grafeo"):
        raise UsageError(
            f"{place or 'an empty text'} is no target",
            "",
            "use a path that ends in .grafeo, or quic://… or grpc://…",
        )
    from geode_tui.target.embedded import EmbeddedGraph  # the engine is 18 MB; only runs need it

    return EmbeddedGraph.open(Path(place), graph, create=create, read_only=read_only)


def _open_geode(
    place: str, graph: str | None, create: bool, read_only: bool, probed: Any
) -> Target:
    from geode_tui.target.geode import GeodeGraph  # the driver brings gRPC and QUIC

    address, password = parse_address(place, graph)
    if password is not None:
        credentials.remember(address.place, password)
    elif address.user:
        password = credentials.password_of(address.place)
    return GeodeGraph.open(address, password, create=create, read_only=read_only, probed=probed)
