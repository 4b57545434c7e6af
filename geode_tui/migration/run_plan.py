"""What a run would do, before it does anything: statements, chunks, rows, order and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from geode_tui.mapping import gql
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.file import mapping_hash
from geode_tui.mapping.model import FINGERPRINT, RUN, STEP, Wave
from geode_tui.mapping.model import Mapping as GraphMapping
from geode_tui.mapping.waves import waves_of
from geode_tui.migration.journal import Journal, Strategy
from geode_tui.migration.postgres_origin import MOST_CHUNKS, PostgresOrigin, rows_a_chunk
from geode_tui.migration.run_figures import RunFigures, newest_like
from geode_tui.source.dsn import short_name
from geode_tui.target import open_target, preparation, target_exists
from geode_tui.target.model import NodeShape, RelationshipShape
from geode_tui.validation.before import count_before
from geode_tui.validation.entity import Entity

Tell = Callable[[str], None]


@dataclass(frozen=True)
class PlanRequest:
    """What a run would be asked to do; `cut` cuts the tables into chunks, else they are guessed."""

    source: str
    target: str
    mapping: GraphMapping
    graph: str | None = None
    schemas: tuple[str, ...] = ()
    parallel: int = 2
    strategy: Strategy = "big-bang"
    cut: bool = True


@dataclass(frozen=True, slots=True)
class PlannedEntity:
    """What a run would do for one entity.

    `rows`, `bytes` and `seconds` are estimates, None where nobody knows; so is `chunks` unless
    `cut`. `waits_for` are the entities that must be done before it begins. `sql` reads it (a
    chunk of it has `$1` to `$2` at its bounds), `gql` says what a batch of its rows becomes.
    """

    id: str
    kind: str
    wave: str
    table: str
    reading: str
    rows: int | None
    bytes: int
    chunks: int | None
    cut: bool
    waits_for: tuple[str, ...]
    seconds: float | None
    sql: str
    gql: str


@dataclass(frozen=True)
class RunPlan:
    """What a run would do.

    `statements` would prepare the target. `refusals` say why a run would be refused as things
    are. `fence` names the snapshot under which the tables were cut. `like` is the number of the
    run that the times are taken from, None where there is none like it. `target_facts` are what
    was found out of the target, by name.
    """

    source: str
    target: str
    graph: str
    target_exists: bool
    mapping_hash: str
    strategy: Strategy
    parallel: int
    waves: tuple[Wave, ...]
    statements: tuple[str, ...]
    entities: tuple[PlannedEntity, ...]
    findings: tuple[Finding, ...]
    refusals: tuple[str, ...]
    fence: str
    like: int | None
    like_parallel: int | None
    target_facts: tuple[tuple[str, str], ...] = ()

    @property
    def seconds(self) -> float | None:
        """About how long the rows would take, of the entities of which that is known."""
        known = [entity.seconds for entity in self.entities if entity.seconds is not None]
        return sum(known) if known else None

    @property
    def rows(self) -> int:
        """About how many rows would be moved, as far as that is known."""
        return sum(entity.rows or 0 for entity in self.entities)

    @property
    def chunks(self) -> int:
        """How many chunks they would be moved in, as far as that is known."""
        return sum(entity.chunks or 0 for entity in self.entities)

    @property
    def bytes(self) -> int:
        """The size of the tables that would be read; one that two entities read counts twice."""
        return sum(entity.bytes for entity in self.entities)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The entities of which nobody knows how many rows they have."""
        return tuple(entity.id for entity in self.entities if entity.rows is None)


async def plan_run(
    request: PlanRequest, journal: Journal | None = None, tell: Tell = lambda text: None
) -> RunPlan:
    """Look at source and target, and tell what a run would do. Nothing is written anywhere.

    `journal` gives the times of an earlier run. Raises GeodeTuiError where the source cannot be
    read or the mapping does not fit it.
    """
    origin = PostgresOrigin(request.source, None, request.mapping, request.schemas, request.target)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(origin.close)
        await origin.open()
        entities: Sequence[Entity] = await origin.entities()
        chunks, fence = await _chunks(origin, entities, request.cut, tell)
        findings = origin.findings
    waves = waves_of(request.mapping) if request.strategy == "incremental" else ()
    like = newest_like(journal, short_name(request.source)) if journal else None
    statements, refusals, facts = await asyncio.to_thread(_target, request, entities)
    refusals += _unfinished(journal, request)
    refusals += [f"{f.subject}: {f.message}" for f in findings if f.blocks]
    wave_of = {rule: wave.name for wave in waves for rule in wave.rules}
    planned = [_planned(e, wave_of.get(e.id, ""), chunks, request.cut, like) for e in entities]
    order = {wave.name: number for number, wave in enumerate(waves)}
    planned.sort(key=lambda entity: order.get(entity.wave, 0))
    return RunPlan(
        short_name(request.source),
        request.target,
        request.graph or "",
        target_exists(request.target),
        mapping_hash(request.mapping),
        request.strategy,
        request.parallel,
        waves,
        tuple(statements),
        tuple(planned),
        findings,
        tuple(refusals),
        fence,
        like.record.number if like else None,
        like.record.parallel if like else None,
        tuple(facts),
    )


def plan_document(plan: RunPlan) -> dict[str, Any]:
    """A plan as a JSON document (docs/cli.md)."""
    return {
        "source": plan.source,
        "target": plan.target,
        "graph": plan.graph,
        "target_exists": plan.target_exists,
        "target_facts": dict(plan.target_facts),
        "mapping_hash": plan.mapping_hash,
        "strategy": plan.strategy,
        "parallel": plan.parallel,
        "waves": [asdict(wave) for wave in plan.waves],
        "statements": list(plan.statements),
        "entities": [asdict(entity) for entity in plan.entities],
        "findings": [asdict(finding) for finding in plan.findings],
        "refusals": list(plan.refusals),
        "fence": plan.fence,
        "rows": plan.rows,
        "bytes": plan.bytes,
        "chunks": plan.chunks,
        "seconds": plan.seconds,
        "like": plan.like,
        "unknown": list(plan.unknown),
    }


async def _chunks(
    origin: PostgresOrigin, entities: Sequence[Entity], cut: bool, tell: Tell
) -> tuple[Mapping[str, int | None], str]:
    """The number of each entity's chunks: cut under a snapshot as a run does it, or guessed."""
    if not cut:
        return {entity.id: _guessed(entity) for entity in entities}, ""
    fence = await origin.begin()
    try:
        found: dict[str, int | None] = {}
        for entity in entities:
            tell(f"cutting {entity.id}")
            found[entity.id] = len(await origin.cut(entity))
        return found, fence
    finally:
        await origin.end()


def _guessed(entity: Entity) -> int | None:
    if entity.extract.reading == "stream":
        return 1
    if entity.estimate is None:
        return None
    return max(1, min(MOST_CHUNKS, -(-entity.estimate // rows_a_chunk(entity))))


def _target(
    request: PlanRequest, entities: Sequence[Entity]
) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """What would prepare the target, why it would refuse the run, and what is known of it."""
    shapes = [entity.shape for entity in entities if isinstance(entity.shape, NodeShape)]
    statements = preparation(request.target, request.graph, shapes)
    if not target_exists(request.target):
        return statements, [], []
    target = open_target(request.target, request.graph, create=False, read_only=True)
    with contextlib.closing(target):
        there, facts = count_before(target, entities), target.facts()
    held = {e.id: there[e.id] for e in entities if e.kind == "node" and there.get(e.id)}
    if not held:
        return statements, [], facts
    some = ", ".join(f"{entity} {count:,}" for entity, count in list(held.items())[:3])
    more = ", …" if len(held) > 3 else ""
    what = f"{request.target} already holds nodes of the mapping's labels: {some}{more}"
    return statements, [f"{what} (a run needs --into-existing)"], facts


def _unfinished(journal: Journal | None, request: PlanRequest) -> list[str]:
    """Why the journal refuses another run on the target."""
    if journal is None or not target_exists(request.target):
        return []
    found = journal.unfinished(request.target, request.graph or "")
    if found is None:
        return []
    return [f"run {found.number} stopped before its end: resume it, or roll it back"]


def _planned(
    entity: Entity,
    wave: str,
    chunks: Mapping[str, int | None],
    cut: bool,
    like: RunFigures | None,
) -> PlannedEntity:
    return PlannedEntity(
        entity.id,
        entity.kind,
        wave,
        str(entity.rule.table),
        entity.extract.reading,
        entity.estimate,
        entity.extract.table.bytes,
        chunks[entity.id],
        cut,
        entity.needs,
        _seconds(entity, like),
        _sql(entity),
        _gql(entity.shape),
    )


def _seconds(entity: Entity, like: RunFigures | None) -> float | None:
    """About how long an entity takes, as fast as the other run moved it, or all its entities."""
    if like is None or entity.estimate is None:
        return None
    own = next((e for e in like.entities if e.id == entity.id and e.rate is not None), like.total)
    if own.rate is None:
        return None
    return entity.estimate / (own.rate * max(1, like.record.parallel))


def _sql(entity: Entity) -> str:
    extract = entity.extract
    if extract.reading == "key":
        return extract.chunk_sql(True, True)
    return (
        extract.stream_sql if extract.reading == "stream" else extract.block_sql(extract.leaves[0])
    )


def _gql(shape: NodeShape | RelationshipShape) -> str:
    """What a batch of rows becomes, as one statement."""
    fields = [(n, gql.member("row", n)) for n in (*shape.properties, FINGERPRINT)]
    fields += [(RUN, "$run"), (STEP, "$step")]
    if isinstance(shape, NodeShape):
        labels = "".join(f":{gql.quoted(label)}" for label in shape.labels)
        node = gql.node_with(f"n{labels}", shape.label, fields)
        return f"UNWIND $rows AS row CREATE {node}"
    start, end = _matched("a", shape.start), _matched("b", shape.end)
    made = gql.relationship_with("r", shape.type, fields)
    return f"UNWIND $rows AS row MATCH {start}, {end} CREATE (a){made}(b)"


def _matched(variable: str, shape: NodeShape) -> str:
    fields = [(name, f"row.{variable}{n}") for n, name in enumerate(shape.key)]
    return gql.node_with(variable, shape.label, fields)
