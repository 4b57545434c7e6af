"""A PostgreSQL database as the side that a run's rows come from."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.errors import GeodeTuiError, MappingError, SnapshotLostError, UsageError
from geode_tui.mapping.assess import Finding, assess
from geode_tui.mapping.check import check
from geode_tui.mapping.file import MappingFile
from geode_tui.mapping.infer import row_key
from geode_tui.mapping.model import Mapping as GraphMapping
from geode_tui.mapping.model import NodeRule, Rule
from geode_tui.migration.batches import ChunkedTarget
from geode_tui.migration.chunks import Chunk, Range
from geode_tui.migration.plan import Plan, make_plan
from geode_tui.migration.target_names import mapping_findings
from geode_tui.source.cuts import cut
from geode_tui.source.load import LoadProbe
from geode_tui.source.postgres import Reader, SnapshotHolder, Source
from geode_tui.target.model import Target
from geode_tui.validation.compare import always
from geode_tui.validation.digests import Digests
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.verify import take_counted_ledger, take_ledger

CHUNK_ROWS = 10_000
CHUNK_BYTES = 8 * 1024 * 1024
"""About how many rows and bytes a chunk holds; more where a table would have too many chunks."""
MOST_CHUNKS = 2_000


@dataclass(frozen=True)
class PostgresFeedPlan:
    """What another worker, or another process, needs to open a feed; it may hold a password.

    With `letting_go` a feed keeps no lock from one chunk to the next.
    """

    dsn: str = field(repr=False)
    password: str | None = field(repr=False)
    snapshot: str
    letting_go: bool = False

    async def open(self) -> PostgresFeed:
        """Open a session on the snapshot. Raises SnapshotLostError, LostError, ConnectError."""
        reader = await Source.read_on(self.dsn, self.password, self.snapshot)
        return PostgresFeed(reader, self.snapshot if self.letting_go else None)


class PostgresFeed:
    """A session that reads chunks under the run's snapshot, which it joins anew for each."""

    def __init__(self, reader: Reader, rejoined: str | None = None) -> None:
        self._reader = reader
        self._rejoined = rejoined

    async def rows(
        self, entity: Entity, chunk: Chunk, limit: int
    ) -> AsyncIterator[Sequence[Record]]:
        """The records of a chunk in lists of at most `limit`, read as they are wanted."""
        mend = "change the rule and begin anew; or mend the row, then: geode-tui resume"
        if self._rejoined is not None:
            await self._reader.rejoin(self._rejoined)
        with entity.named_in_errors(mend):
            statement, arguments = _statement(entity, chunk)
            async for records in self._reader.stream(statement, *arguments, rows=limit):
                yield records
        if self._rejoined is not None:
            await self._reader.leave()

    async def close(self) -> None:
        """End the session."""
        await self._reader.close()


class PostgresOrigin:
    """A database, with the plan of a mapping and the snapshot that all feeds share.

    `target` is the place of the target, whose say on the names is part of the findings.
    """

    def __init__(
        self,
        dsn: str,
        password: str | None,
        mapping: GraphMapping,
        schemas: Sequence[str],
        target: str = "",
    ) -> None:
        self._dsn = dsn
        self._password = password
        self._mapping = mapping
        self._schemas = schemas
        self._target = target
        self._source: Source | None = None
        self._holder: SnapshotHolder | None = None
        self._plan: Plan | None = None
        self._plain: Catalog | None = None
        self._catalog: Catalog | None = None
        self.findings: tuple[Finding, ...] = ()
        self.locking = True
        self._side: Reader | None = None
        self._sides = asyncio.Lock()

    def again(self) -> PostgresOrigin:
        """The same, not open yet."""
        given = (self._dsn, self._password, self._mapping, self._schemas, self._target)
        return PostgresOrigin(*given)

    @property
    def source(self) -> Source:
        """The source, once it is open."""
        assert self._source is not None
        return self._source

    @property
    def plan(self) -> Plan:
        """The plan, once the entities were asked for."""
        assert self._plan is not None
        return self._plan

    @property
    def catalog(self) -> Catalog:
        """The catalog that the plan was made of, once the entities were asked for."""
        assert self._catalog is not None
        return self._catalog

    @property
    def identity(self) -> str:
        """Database and role."""
        return self.source.identity

    async def open(self) -> None:
        """Connect. Raises ConnectError."""
        self._source = await Source.connect(self._dsn, password=self._password)

    async def entities(self) -> Sequence[Entity]:
        """Read the catalog, assess the mapping on it (`findings`) and compile it."""
        catalog = self._catalog = await self._described()
        check(MappingFile(self._mapping), catalog)
        self.findings = self._found(catalog)
        self._plan = make_plan(self._mapping, catalog)
        if not self._plan.entities:
            raise UsageError("the mapping moves nothing", "every rule is excluded")
        return self._plan.entities

    async def look_again(self) -> list[str]:
        """Read the catalog once more; where the mapping would make other things of it now.

        What changed beside what the mapping reads is no difference, nor is another type that
        gives the same values.
        """
        self._plain = None
        try:
            catalog = await self._described()
            check(MappingFile(self._mapping), catalog)
            plan = make_plan(self._mapping, catalog)
        except MappingError as error:
            return [f"{error.what}: {error.why}" if error.why else error.what]
        return drifted(self.plan.entities, compiled(plan.entities), compiled(self.plan.entities))

    async def _tables(self) -> Catalog:
        """The tables of the database, read once."""
        if self._plain is None:
            self._plain = await self.source.catalog(self._schemas)
        return self._plain

    async def _described(self) -> Catalog:
        """The catalog with the mapping's queries as tables. Raises MappingError."""
        return await self.source.described(await self._tables(), self._mapping.queries)

    def _found(self, catalog: Catalog) -> tuple[Finding, ...]:
        further = mapping_findings(self._mapping, self._target)
        return assess(self._mapping, catalog, further=further)

    async def fields(self) -> dict[str, str]:
        """The database and the tables that are read, as far as the run depends on them.

        A table that is not there has no fields: the mapping need not fit the source.
        """
        facts = self.source.facts
        found = {
            "database": facts.database,
            "database oid": str(facts.database_oid),
            "role": facts.role,
        }
        for name in dict.fromkeys(self._names()):
            table = await self._table(name)
            if table is None:
                continue
            found[f"{table.name} is a"] = table.kind
            found |= {f"{table.name}.{c.name}": c.type.declared for c in table.columns}
            found[f"{table.name} is read by"] = _reading(table)
        return found

    def _rules(self) -> Sequence[Rule]:
        """The rules whose rows are read."""
        return tuple(self._mapping.active_rules())

    def _names(self) -> Iterator[TableName]:
        """The tables that the rules read, and those that they join."""
        for rule in self._rules():
            yield rule.table
            if isinstance(rule, NodeRule):
                yield from (join.table for join in rule.joins)

    async def _table(self, name: TableName) -> Table | None:
        """A table or a query of the mapping; None where the source has no such thing any more."""
        catalog, query = await self._tables(), self._mapping.query(name)
        if query is None:
            return catalog.table(name)
        try:
            return (await self.source.described(catalog, [query])).table(name)
        except MappingError:
            return None

    def load_probe(self) -> LoadProbe | None:
        """What tells the governor how the source fares."""
        return LoadProbe(self.source)

    async def begin(self) -> str:
        """Lock the tables against rewriting (unless not `locking`) and export one snapshot."""
        tables = {entity.rule.table for entity in self.plan.entities} if self.locking else set()
        self._holder = await self.source.snapshot(sorted(tables))
        return self._holder.fence

    async def rewritten(self) -> list[TableName]:
        """The tables that the snapshot does not show any more as they were: see `Reader`."""
        return await self._held.rewritten(sorted({e.rule.table for e in self.plan.entities}))

    async def alive(self) -> bool:
        """Whether the holder's session still answers."""
        if self._holder is None:
            return False
        try:
            await self._holder.fetch("SELECT 1")
        except GeodeTuiError:
            return False
        return True

    async def cut(self, entity: Entity) -> list[Range]:
        """Ranges of the key of about `CHUNK_ROWS` rows and `CHUNK_BYTES` bytes."""
        rows = rows_a_chunk(entity)
        async with self._reading() as reader:
            return await cut(reader, entity.extract, entity.estimate, rows, MOST_CHUNKS)

    def feed_plan(self) -> PostgresFeedPlan:
        """What a worker needs to open a feed on the present snapshot."""
        if self._holder is None:
            raise SnapshotLostError("the snapshot is gone")
        snapshot = self._holder.snapshot_id
        return PostgresFeedPlan(self._dsn, self._password, snapshot, not self.locking)

    async def digest(self, entity: Entity, chunk: Chunk) -> tuple[int, int]:
        """The rows of a chunk in the present snapshot, and the sum of their fingerprints."""
        statement = entity.extract.digest_sql(chunk.low is not None, chunk.high is not None)
        async with self._reading() as reader:
            row = (await reader.fetch(statement, *(chunk.low or ()), *(chunk.high or ())))[0]
        return int(row[0]), int(row[1] or 0)

    async def rows_at(
        self, entity: Entity, places: Sequence[Sequence[str]]
    ) -> list[tuple[int, tuple[Any, ...]]]:
        """The records at some cursors of a keyed entity, each with the number of its cursor."""
        lists = [list(texts) for texts in zip(*places, strict=True)]
        with entity.named_in_errors("mend the row in the source, and try again"):
            found = await self._held.fetch(entity.extract.rows_at_sql, *lists)
        return [(int(row[-1]) - 1, tuple(row)[:-1]) for row in found]

    async def ledger(
        self,
        target: Target,
        entities: Sequence[Entity],
        left_out: Mapping[str, LeftOut],
        before: Mapping[str, int],
        progress: Callable[[str], None],
        runs: Set[str] = frozenset(),
    ) -> Ledger:
        """Compare both sides under the snapshot; `before` is what was in the graph already."""
        held = self._held
        if isinstance(target, ChunkedTarget):
            return await take_counted_ledger(held, target, entities, left_out, held.fence)
        ids = {entity.id for entity in entities}
        others = [entity for entity in self.plan.entities if entity.id not in ids]
        return await take_ledger(
            held,
            target,
            entities,
            left_out,
            held.fence,
            progress=progress,
            before=before,
            others=others,
            runs=runs,
            digests=Digests(always(held), retries=(0.0,)),
        )

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[Reader]:
        """A session on the snapshot that keeps no lock afterwards, unless locks are wanted."""
        held = self._held
        if self.locking:
            yield held
            return
        async with self._sides:
            if self._side is None:
                self._side = await self.source.reader()
                await self._side.leave()
            try:
                await self._side.rejoin(held.snapshot_id)
                yield self._side
                await self._side.leave()
            except BaseException:
                await self._close_side()
                raise

    async def _close_side(self) -> None:
        if self._side is not None:
            await self._side.close()
            self._side = None

    async def end(self) -> None:
        """Let the snapshot go."""
        await self._close_side()
        if self._holder is not None:
            await self._holder.close()
            self._holder = None

    async def close(self) -> None:
        """Let the source go."""
        if self._source is not None:
            await self._source.close()

    @property
    def _held(self) -> SnapshotHolder:
        if self._holder is None:
            raise SnapshotLostError("the snapshot is gone")
        return self._holder


def rows_a_chunk(entity: Entity) -> int:
    """About how many rows a chunk of an entity holds."""
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // entity.bytes_per_row))


def compiled(entities: Sequence[Entity]) -> dict[str, tuple[str, str]]:
    """For each entity a digest of what its rule makes, and one of the SQL that it is read by."""
    told = {}
    for entity in entities:
        extract = entity.extract
        made = (extract.reading, extract.cursor_columns, entity.shape)
        told[entity.id] = _digest(made), _digest(extract.stream_sql)
    return told


def _digest(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def drifted(
    entities: Sequence[Entity],
    now: Mapping[str, Sequence[str]],
    before: Mapping[str, Sequence[str]],
) -> list[str]:
    """The entities whose rules make something else than before, in words."""
    return [
        f"{entity.id}: {entity.rule.table} has other keys or columns than at the begin"
        for entity in entities
        if now.get(entity.id, ("",))[0] != before.get(entity.id, ("",))[0]
    ]


def _reading(table: Table) -> str:
    key = row_key(table)
    return f"key ({', '.join(key.columns)})" if key else "place"


def _statement(entity: Entity, chunk: Chunk) -> tuple[str, tuple[Any, ...]]:
    """The SELECT of a chunk and its arguments."""
    extract = entity.extract
    if extract.reading == "key":
        statement = extract.chunk_sql(chunk.low is not None, chunk.high is not None)
        return statement, (*(chunk.low or ()), *(chunk.high or ()))
    if extract.reading == "stream":
        return extract.stream_sql, ()
    assert chunk.low is not None
    assert chunk.high is not None
    leaf = next(leaf for leaf in extract.leaves if tuple(leaf) == chunk.low[:2])
    return extract.block_sql(leaf), ((int(chunk.low[2]), 0), (int(chunk.high[2]), 0))
