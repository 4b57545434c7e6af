"""`export` and `import`: the mapped graph as files, and files as a graph."""

from __future__ import annotations

import argparse
from pathlib import Path

from geode_tui.commands.arguments import schemas_of, source_of, target_of
from geode_tui.commands.catalog import checked_mapping
from geode_tui.commands.migrate import drive
from geode_tui.mapping.model import Mapping
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.target.file_formats import form_of


def export(arguments: argparse.Namespace) -> int:
    """Write the mapped graph to files, as a run of the journal."""
    form = form_of(arguments.output, arguments.format, arguments.compression)
    _, mapping = checked_mapping(arguments)
    request = RunRequest(
        source_of(arguments),
        str(Path(arguments.output).absolute()),
        mapping,
        None,
        schemas_of(arguments),
        arguments.parallel,
        arguments.batch_size,
        kind="export",
        format=form.format,
        compression=form.compression or "",
    )
    return drive(Runner(request), arguments.json)


def import_(arguments: argparse.Namespace) -> int:
    """Load files into a graph, as a run of the journal."""
    place, graph = target_of(arguments)
    request = RunRequest(
        str(Path(arguments.input).absolute()),
        place,
        Mapping(),
        graph,
        (),
        arguments.parallel,
        arguments.batch_size,
        kind="import",
        into_existing=arguments.into_existing,
    )
    return drive(Runner(request), arguments.json)
