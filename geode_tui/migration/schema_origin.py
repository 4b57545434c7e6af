"""The source of a schema change: a database of which only some of the mapping's rows are read."""

from __future__ import annotations

from collections.abc import Sequence

from geode_tui.catalog import Catalog
from geode_tui.errors import MappingError
from geode_tui.mapping.check import check
from geode_tui.mapping.difference import compare
from geode_tui.mapping.edits import replace_rule
from geode_tui.mapping.extract import compile_extract
from geode_tui.mapping.file import MappingFile, parse
from geode_tui.mapping.model import Mapping, Rule
from geode_tui.mapping.steps import Work
from geode_tui.migration.journal import RunRecord
from geode_tui.migration.plan import Plan
from geode_tui.migration.postgres_origin import PostgresOrigin
from geode_tui.migration.schema_fill import Fill, fill_of, with_properties
from geode_tui.validation.entity import Entity, entity_of

_GUARDED = ("DECIMAL", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ")


def work_of(record: RunRecord, mapping: Mapping, anew: dict[str, str] | None = None) -> Work:
    """What a run of kind `schema` does to lead a graph to `mapping`.

    `anew` are the rules to load anew, with why; those that were decided on where it is None.
    """
    old = parse(record.options["from"], f"the old mapping of run {record.number}").mapping
    anew = record.options.get("anew", {}) if anew is None else anew
    return Work(compare(old, mapping), anew)


class SchemaOrigin(PostgresOrigin):
    """A database for a change of the schema; one that needs no row may have none."""

    def __init__(
        self,
        dsn: str,
        password: str | None,
        mapping: Mapping,
        schemas: Sequence[str],
        target: str = "",
    ) -> None:
        super().__init__(dsn, password, mapping, schemas, target)
        self._given = bool(dsn)
        self._catalog: Catalog | None = None
        self._limited: tuple[Rule, ...] = ()

    @property
    def is_given(self) -> bool:
        """Whether somebody named a source."""
        return self._given

    async def read(self) -> None:
        """Read the catalog and check the new mapping on it (`findings`)."""
        self._catalog = await self._described()
        check(MappingFile(self._mapping), self._catalog)
        self.findings = self._found(self._catalog)

    @property
    def catalog(self) -> Catalog:
        """The catalog, once it was read."""
        assert self._catalog is not None
        return self._catalog

    async def close(self) -> None:
        """Let the source go, if there is one."""
        if self._source is not None:
            await super().close()

    def limit(self, work: Work) -> None:
        """Say what is to be done: the source is what its rows are read from (`fields`)."""
        filled = (pair.new for pair in work.kept if work.fills(pair))
        self._limited = (*(rule for rule, _ in work.loaded()), *filled)

    def _rules(self) -> Sequence[Rule]:
        return self._limited

    def choose(self, work: Work) -> tuple[list[Entity], list[Fill]]:
        """Plan what must be read: entities to load, and fills. Raises MappingError."""
        loads = [entity_of(rule, self._mapping, self.catalog) for rule, _ in work.loaded()]
        fills = []
        for pair in work.kept:
            names = [item.name for item in work.fills(pair)]
            if names:
                fills.append(fill_of(pair.new, names, self._mapping, self.catalog))
        self._plan = Plan((*loads, *fills))
        return loads, fills

    async def rejects(self, rule: Rule, names: Sequence[str], mapping: Mapping) -> bool:
        """Whether some row cannot be carried for the values of some properties (a scan).

        A property that can no longer be read says nothing.
        """
        known = [name for name in names if self._is_guarded(rule, name, mapping)]
        if not known:
            return False
        lean = with_properties(rule, known)
        extract = compile_extract(lean, replace_rule(mapping, rule, lean), self.catalog)
        reader = await self.source.reader()
        try:
            # No name of anybody stands in this text but quoted, in the SELECT of the extract.
            found = await reader.fetch(
                f"SELECT EXISTS (SELECT 1 FROM ({extract.stream_sql}) AS s"
                " WHERE s.reject IS NOT NULL)"
            )
            return bool(found[0][0])
        finally:
            await reader.close()

    def _is_guarded(self, rule: Rule, name: str, mapping: Mapping) -> bool:
        """Whether the graph may be unable to hold a value of a property, as far as it is there."""
        item = rule.property_named(name)
        if item is None or not (item.type in _GUARDED or item.type.startswith("LIST<")):
            return False
        lean = with_properties(rule, [name])
        try:
            compile_extract(lean, replace_rule(mapping, rule, lean), self.catalog)
        except MappingError:
            return False
        return True
