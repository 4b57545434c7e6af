"""The top line: what is moved where, how far it is, and the time."""

from __future__ import annotations

import time

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from geode_tui.errors import redact
from geode_tui.migration.events import RunSnapshot
from geode_tui.migration.workspace import Workspace
from geode_tui.target.geode_dsn import is_geode, risk, target_name
from geode_tui.widgets.text import fit, one_line

_LEAST = 12
PRODUCTION = "PROD"


class StatusLine(Widget):
    """One line: `geode-tui  shop@db1 PROD ─▶ shop.grafeo  run 7 backfill 62 %  14:02:07`."""

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
        background: $panel;
        color: $foreground;
        &.-production { background: $error-muted; }
    }
    """

    parts: reactive[tuple[str, str, str, str, str, str]] = reactive(("", "", "", "", "", ""))
    """Source, its label, target, what is not safe about its connection, run, time."""

    def show(self, workspace: Workspace) -> None:
        """Show a workspace as it is now."""
        source = workspace.source.name if workspace.source else "not connected"
        shown = workspace.foremost_run
        run = run_text(shown.snapshot()) if shown else ""
        clock = time.strftime("%H:%M:%S")
        self.set_class(workspace.label.upper() == PRODUCTION, "-production")
        place = workspace.target_place
        target = one_line(target_name(place) if is_geode(place) else redact(place))
        label = one_line(workspace.label)
        self.parts = (one_line(source), label, target, risk(place), run, clock)

    def render(self) -> Content:
        """The line, its names cut to what the width allows."""
        source, label, target, unsafe, run, clock = self.parts
        width = self.size.width
        brand = " geode-tui   " if width >= 70 else " "
        mark = f" {label} " if label else ""
        right = f"{run}   {clock} " if run else f"{clock} "
        arrow = " ─▶ " if target else ""
        warning = f" {unsafe} " if unsafe else ""
        fixed = (brand, mark, arrow, warning, right)
        room = width - sum(map(cell_len, fixed)) - 1 - bool(mark) - bool(warning)
        source, target = _cut(source, target, room)
        colour = "bold $text-error" if label.upper() == PRODUCTION else "bold $text-warning"
        left = Content.assemble(
            (brand, "$text-muted"),
            (source, "bold"),
            " " if mark else "",
            (mark, f"{colour} reverse"),
            (arrow, "$text-muted"),
            (target, "bold"),
            " " if warning else "",
            (warning, "bold $text-error reverse"),
        )
        gap = max(1, width - left.cell_length - cell_len(right))
        return Content.assemble(left, " " * gap, (run, "$text-accent"), right[len(run) :])


def run_text(snapshot: RunSnapshot) -> str:
    """`run 7 backfill 62 %`: the run with its phase, or how it ended."""
    words = f"run {snapshot.run}"
    if snapshot.state != "running":
        return f"{words} {snapshot.state}"
    share = run_share(snapshot)
    return f"{words} {snapshot.phase.name}" + ("" if share is None else f" {int(share * 100)} %")


def run_share(snapshot: RunSnapshot) -> float | None:
    """Done share of the backfill from 0 to 1, None where it is not known or not its time."""
    if snapshot.phase.name != "backfill":
        return None
    sizes = [entity.rows_estimated for entity in snapshot.entities]
    total = sum(size or 0 for size in sizes)
    if not total or None in sizes:
        return None
    done = sum((entity.share or 0) * (entity.rows_estimated or 0) for entity in snapshot.entities)
    return done / total


def _cut(source: str, target: str, room: int) -> tuple[str, str]:
    """Both names in `room` cells, each with its fair part."""
    lengths = cell_len(source), cell_len(target)
    if sum(lengths) <= room:
        return source, target
    half = max(_LEAST, room // 2)
    if lengths[1] <= half:
        return fit(source, max(_LEAST, room - lengths[1])), target
    if lengths[0] <= half:
        return source, fit(target, max(_LEAST, room - lengths[0]))
    return fit(source, half), fit(target, half)
