"""`python -m benchmarks.references FILE.sql…`: are references found that no constraint declares?

Each file (a script of pg_dump, with INSERT or COPY) is loaded into a database of its own. Its
foreign keys are noted and dropped, and what is then suggested is compared with them.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from geode_tui.catalog import Catalog, ForeignKey, Table, TableName
from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping.implied import candidates, test_candidates
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.mapping.suggest import CERTAINTIES, Suggestion, suggest
from geode_tui.source.postgres import Source

TEST_SECONDS = 120.0

Real = tuple[TableName, TableName, frozenset[tuple[str, str]]]
"""A reference: from which table, to which, by which pairs of columns."""

_COPY = re.compile(r"COPY (?P<table>.+?) \((?P<columns>.+)\) FROM stdin;")
_NAME = re.compile(r'"(?:[^"]|"")+"|[^",.\s]+')


@dataclass(frozen=True)
class Outcome:
    """What was suggested for the database, and the references that it has."""

    real: frozenset[Real]
    suggested: dict[Real, Suggestion]

    @property
    def found(self) -> int:
        """How many of the real references were suggested."""
        return len(self.real & self.suggested.keys())

    def at(self, certainty: str) -> tuple[int, int]:
        """How many suggestions of a certainty there are, and how many of those are wrong."""
        some = [real for real, s in self.suggested.items() if s.certainty == certainty]
        return len(some), sum(real not in self.real for real in some)


def main() -> int:
    """Measure each file and print."""
    if len(sys.argv) < 2:
        print("usage: python -m benchmarks.references FILE.sql…", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="geode-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        for number, file in enumerate(sys.argv[1:]):
            script = Path(file).read_text(encoding="utf-8")
            outcome = asyncio.run(measure(server, f"references_{number}", script))
            _print(Path(file).name, outcome)
    return 0


async def measure(server: EmbeddedPostgres, database: str, script: str) -> Outcome:
    """Load a script into a new database and compare what is suggested with its foreign keys."""
    connection = await asyncpg.connect(server.dsn())
    await connection.execute(f'CREATE DATABASE "{database}" TEMPLATE template0')
    await connection.close()
    connection = await asyncpg.connect(server.dsn(database))
    await _load(connection, script)
    source = await Source.connect(server.dsn(database))
    try:
        real = frozenset(references_of(await source.catalog()))
        await _drop_foreign_keys(connection)
        return Outcome(real, await suggested(source))
    finally:
        await source.close()
        await connection.close()


async def suggested(source: Source) -> dict[Real, Suggestion]:
    """The references that are suggested for a source, each with its suggestion."""
    catalog = await source.catalog()
    profile = await source.profile(catalog)
    tested = await test_candidates(source, candidates(catalog, profile), TEST_SECONDS)
    mapping = infer(catalog)
    found = suggest(mapping, catalog, profile, tested)
    return {
        _reference_in(suggestion, mapping): suggestion
        for suggestion in found
        if suggestion.kind == "reference"
    }


def references_of(catalog: Catalog) -> Iterator[Real]:
    """The references that foreign keys declare."""
    for table in catalog.tables:
        for key in table.foreign_keys:
            yield _real(table, key)


def _real(table: Table, key: ForeignKey) -> Real:
    pairs = frozenset(zip(key.columns, key.to_columns, strict=True))
    return table.name, key.to_table, pairs


def _reference_in(suggestion: Suggestion, mapping: Mapping) -> Real:
    rule = suggestion.apply(mapping).relationships[-1]
    target = mapping.node(rule.end.node)
    assert target is not None
    pairs = frozenset(zip(rule.end.columns, rule.end.references, strict=True))
    return rule.table, target.table, pairs


async def _load(connection: asyncpg.Connection[asyncpg.Record], script: str) -> None:
    """Run a script of SQL and of the data between COPY … FROM stdin and `\\.`."""
    lines = script.splitlines(keepends=True)
    statements: list[str] = []
    at = 0
    while at < len(lines):
        copy = _COPY.match(lines[at])
        if copy is None:
            if not lines[at].startswith("\\"):
                statements.append(lines[at])
            at += 1
            continue
        await _execute(connection, statements)
        statements = []
        end = next(n for n in range(at, len(lines)) if lines[n].rstrip() == "\\.")
        await _copy(connection, copy, "".join(lines[at + 1 : end]))
        at = end + 1
    await _execute(connection, statements)


async def _execute(connection: asyncpg.Connection[asyncpg.Record], statements: list[str]) -> None:
    # A query of comments alone is none.
    await connection.execute(f"SELECT 1;\n{''.join(statements)}\n;SELECT 1")


async def _copy(
    connection: asyncpg.Connection[asyncpg.Record], copy: re.Match[str], data: str
) -> None:
    *schema, table = (_unquoted(name) for name in _NAME.findall(copy["table"]))
    await connection.copy_to_table(
        table,
        schema_name=schema[0] if schema else None,
        columns=[_unquoted(name) for name in _NAME.findall(copy["columns"])],
        source=io.BytesIO(data.encode()),
    )


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


async def _drop_foreign_keys(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    statements = await connection.fetch(
        "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)"
        " FROM pg_constraint WHERE contype = 'f' AND conparentid = 0"
    )
    for row in statements:
        await connection.execute(row[0])
    await connection.execute("ANALYZE")


def _print(name: str, outcome: Outcome) -> None:
    total = len(outcome.real)
    share = outcome.found / total if total else 1.0
    print(f"{name}: {outcome.found} of {total} references found ({share:.0%})")
    for certainty in CERTAINTIES:
        count, wrong = outcome.at(certainty)
        print(f"  {certainty:7} {count:4} suggested, {wrong} wrong")
    for real in sorted(outcome.real - outcome.suggested.keys(), key=str):
        print(f"  missed  {_text(real)}")
    for real, suggestion in outcome.suggested.items():
        if real not in outcome.real:
            print(f"  wrong   {suggestion.certainty}: {_text(real)}: {suggestion.because}")


def _text(real: Real) -> str:
    table, to_table, pairs = real
    columns = ", ".join(f"{own} → {theirs}" for own, theirs in sorted(pairs))
    return f"{table} → {to_table} ({columns})"


if __name__ == "__main__":
    sys.exit(main())
