"""What a target that is written once cannot do: overwrite, rename, be queried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from geode_tui.errors import UsageError
from geode_tui.target.model import (
    Answers,
    Key,
    Marked,
    NodeImage,
    NodeShape,
    Parts,
    RelationshipImage,
    RelationshipKey,
    RelationshipShape,
    Row,
    Statement,
    Whole,
)

Shape = NodeShape | RelationshipShape
_UNCHANGED = "files are written once and not changed"
_UNCOMPARED = "files are compared by their numbers"


class WrittenOnce:
    """The part of `target.model.Target` that files refuse, in words for people."""

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Files know no statements."""
        raise UsageError("files cannot be queried", "", "import them into a graph, and ask there")

    def run_together(
        self, statements: Sequence[Statement], check: Callable[[Answers], None]
    ) -> None:
        """Files know no statements."""
        raise unsupported(_UNCHANGED)

    def node_keys(self, shape: NodeShape, run: str, steps: Sequence[int]) -> list[tuple[int, Key]]:
        """Not for files: a chunk that is written again replaces its part."""
        raise unsupported("files do not tell the steps of their records")

    def relationship_keys(
        self, shape: RelationshipShape, run: str, steps: Sequence[int]
    ) -> list[tuple[int, RelationshipKey]]:
        """Not for files: a chunk that is written again replaces its part."""
        raise unsupported("files do not tell the steps of their records")

    def count_keyed(self, shape: NodeShape, keys: Sequence[Key]) -> list[int]:
        """Not for files."""
        raise unsupported(_UNCOMPARED)

    def node_images(
        self, shape: NodeShape, keys: Sequence[Key], run: str | None = None
    ) -> list[NodeImage | None]:
        """Not for files: an export overwrites nothing."""
        raise unsupported(_UNCHANGED)

    def leading_from(
        self, shape: RelationshipShape, starts: Sequence[Key], run: str
    ) -> list[tuple[int, RelationshipKey]]:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def relationship_images(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey], run: str | None = None
    ) -> list[RelationshipImage | None]:
        """Not for files: an export overwrites nothing."""
        raise unsupported(_UNCHANGED)

    def put_nodes(
        self,
        shape: NodeShape,
        images: Sequence[tuple[Key, NodeImage | None]],
        run: str | None = None,
    ) -> None:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def digest_parts(self, shape: Shape, parts: int, modulus: int) -> Parts:
        """Not for files."""
        raise unsupported(_UNCOMPARED)

    def in_parts(
        self, shape: Shape, parts: int, wanted: Sequence[int | None]
    ) -> Iterator[list[Marked]]:
        """Not for files."""
        raise unsupported(_UNCOMPARED)

    def scan_whole(self, shape: Shape, rows: int) -> Iterator[list[Whole]]:
        """Not for files."""
        raise unsupported(_UNCOMPARED)

    def put_relationships(
        self,
        shape: RelationshipShape,
        images: Sequence[tuple[RelationshipKey, RelationshipImage | None]],
        run: str | None = None,
        steps: Sequence[int] | None = None,
    ) -> None:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def update_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: Sequence[tuple[Key, Row]]
    ) -> int:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def update_relationships(
        self,
        shape: RelationshipShape,
        names: Sequence[str],
        rows: Sequence[tuple[RelationshipKey, Row]],
    ) -> int:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def rename_property(self, shape: Shape, old: str, new: str) -> int:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def remove_property(self, shape: Shape, name: str) -> int:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def add_label(self, shape: NodeShape, label: str) -> int:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def remove_label(self, shape: NodeShape, label: str) -> int:
        """Not for files."""
        raise unsupported(_UNCHANGED)

    def rename_type(self, shape: RelationshipShape, new: str) -> int:
        """Not for files."""
        raise unsupported(_UNCHANGED)


def unsupported(what: str) -> UsageError:
    return UsageError(what, "", "import them into a graph, and change that")
