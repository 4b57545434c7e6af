"""The mapping as a YAML file that a person reads, edits and diffs."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from geode_tui.catalog import TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.model import (
    FORMAT_VERSION,
    ROW,
    Endpoint,
    Join,
    LabelBy,
    Mapping,
    NodeRule,
    Pair,
    Property,
    Query,
    RelationshipRule,
    Waiver,
    Wave,
)
from geode_tui.mapping.names import is_graph_name
from geode_tui.mapping.types import GRAPH_TYPES

Place = tuple[str | int, ...]
"""Where a value stands in the file: `("nodes", 3, "table")`."""

_KNOWN_VERSIONS = (1, FORMAT_VERSION)  # 1 named the label, not the rule, at a relationship's ends
_TOP_FIELDS = {"version", "database", "queries", "nodes", "relationships", "waves"}
_TOP_FIELDS |= {"waivers", "ignored", "statistics", "checks"}
_NODE_FIELDS = {"label", "name", "table", "include", "where", "labels", "labels_by", "joins"}
_NODE_FIELDS |= {"keep_first", "key", "because", "properties"}
_RELATIONSHIP_FIELDS = {"type", "table", "include", "where", "from", "to", "key", "because"}
_RELATIONSHIP_FIELDS |= {"properties"}
_PROPERTY_FIELDS = {"name", "column", "join", "expression", "type", "include"}

_HEADER = """\
# geode-tui mapping. Edit freely: rename labels, types and properties, set include: false.
# A property's type is one of those that its column can become; a wrong word is named with its line.
"""
# libyaml where PyYAML has it: 2,000 tables are read and written in seconds less.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class MappingFile:
    """A mapping with the file it came from and the line of every value in it (1-based)."""

    mapping: Mapping
    name: str = "mapping"
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int | None:
        """The line of the value at `place`, or of the nearest thing around it."""
        while place:
            if place in self.lines:
                return self.lines[place]
            place = place[:-1]
        return None


def nearest(word: str, words: Iterable[str]) -> str:
    """`did you mean …?` with the most similar of `words`, or an empty string."""
    choices = list(words)
    folded = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    return f"did you mean {folded[close[0]]}?" if close else ""


def mapping_hash(mapping: Mapping) -> str:
    """SHA-256 of the mapping, in hex; equal mappings have equal hashes."""
    document = asdict(mapping)
    for later in ("statistics", "checks"):  # mappings without them keep the hash they had
        if not document[later]:
            del document[later]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def dump(mapping: Mapping) -> str:
    """The mapping as the text of a YAML file; `parse` gives the same mapping back."""
    document: dict[str, Any] = {"version": mapping.version, "database": mapping.database}
    if mapping.queries:
        document["queries"] = [{"name": q.name, "sql": q.sql} for q in mapping.queries]
    document["nodes"] = [_node_document(rule) for rule in mapping.nodes]
    document["relationships"] = [_relationship_document(rule) for rule in mapping.relationships]
    if mapping.waves:
        document["waves"] = [{"name": w.name, "rules": list(w.rules)} for w in mapping.waves]
    if mapping.statistics:
        document["statistics"] = list(mapping.statistics)
    if mapping.checks:
        document["checks"] = [_pair_document(pair) for pair in mapping.checks]
    if mapping.waivers:
        document["waivers"] = [asdict(waiver) for waiver in mapping.waivers]
    if mapping.ignored:
        document["ignored"] = list(mapping.ignored)
    body = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return _HEADER + body


def save(mapping: Mapping, path: Path) -> None:
    """Write the mapping's file in one step: either the old or the new file is there.

    Raises MappingError when the folder cannot be written.
    """
    handle = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(dump(mapping))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if handle is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise MappingError(
            f"cannot write {path}", str(error.strerror or error), "choose another --output"
        ) from error


def load(path: Path) -> MappingFile:
    """Read a mapping file.

    Raises MappingError, with the line and the nearest right word, when it is no mapping.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MappingError(
            f"cannot read the mapping {path}",
            str(error.strerror or error),
            "make one with: geode-tui map --source DSN --output mapping.yaml",
        ) from error
    except UnicodeDecodeError as error:
        raise MappingError(f"{path} is not UTF-8 text", f"byte {error.start}") from error
    return parse(content, path.name)


def parse(content: str, name: str = "mapping") -> MappingFile:
    """Read a mapping from the text of its file; errors as `load`."""
    try:
        root = yaml.compose(content, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise MappingError(f"{name}{line}: not YAML", str(problem), "mend the line") from error
    return _Reader(name).read(root)


class _FlowDict(dict[str, Any]):
    """A dictionary that is written on one line."""


class _FlowList(list[str]):
    """A list that is written on one line."""


class _Dumper(_SafeDumper):  # type: ignore[valid-type, misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Double quotes, with escapes, for what has more than printable characters in it."""
    style = None if value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    _FlowDict,
    lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True),
)
_Dumper.add_representer(
    _FlowList,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True),
)


def _node_document(rule: NodeRule) -> dict[str, Any]:
    document: dict[str, Any] = {"label": rule.label}
    if rule.name:
        document["name"] = rule.name
    document["table"] = str(rule.table)
    if not rule.include:
        document["include"] = False
    if rule.where:
        document["where"] = rule.where
    if rule.labels:
        document["labels"] = _FlowList(rule.labels)
    if rule.labels_by:
        document["labels_by"] = _labels_by_document(rule.labels_by)
    if rule.joins:
        document["joins"] = [_join_document(join) for join in rule.joins]
    if rule.keep_first:
        document["keep_first"] = rule.keep_first
    document["key"] = _FlowList(rule.key)
    document["because"] = rule.because
    document["properties"] = [_property_document(p) for p in rule.properties]
    return document


def _relationship_document(rule: RelationshipRule) -> dict[str, Any]:
    document: dict[str, Any] = {"type": rule.type, "table": str(rule.table)}
    if not rule.include:
        document["include"] = False
    if rule.where:
        document["where"] = rule.where
    document["from"] = _endpoint_document(rule.start)
    document["to"] = _endpoint_document(rule.end)
    if rule.key:
        document["key"] = _FlowList(rule.key)
    document["because"] = rule.because
    document["properties"] = [_property_document(p) for p in rule.properties]
    return document


def _pair_document(pair: Pair) -> dict[str, Any]:
    document: dict[str, Any] = {"name": pair.name, "sql": pair.sql, "gql": pair.gql}
    if pair.tolerance:
        document["tolerance"] = pair.tolerance
    return document


def _labels_by_document(by: LabelBy) -> dict[str, Any]:
    document: dict[str, Any] = {"column": by.column}
    if by.join:
        document["join"] = by.join
    return document | {"labels": _FlowDict(by.labels)}


def _join_document(join: Join) -> _FlowDict:
    return _FlowDict(
        name=join.name,
        table=str(join.table),
        columns=_FlowList(join.columns),
        references=_FlowList(join.references),
    )


def _endpoint_document(end: Endpoint) -> _FlowDict:
    return _FlowDict(
        node=end.node, columns=_FlowList(end.columns), references=_FlowList(end.references)
    )


def _property_document(item: Property) -> _FlowDict:
    document = _FlowDict(name=item.name)
    if item.column:
        document["column"] = item.column
    if item.join:
        document["join"] = item.join
    if item.expression:
        document["expression"] = item.expression
    document["type"] = item.type
    if not item.include:
        document["include"] = False
    return document


class _Reader:
    """Walks the YAML nodes, keeping the line of everything it reads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._version = FORMAT_VERSION
        self._lines: dict[Place, int] = {}

    def read(self, root: yaml.Node | None) -> MappingFile:
        if root is None:
            raise MappingError(
                f"{self._name} is empty", "", "make one with: geode-tui map --output mapping.yaml"
            )
        top = self._mapping(root, (), _TOP_FIELDS)
        self._version = self._integer(top, "version", (), FORMAT_VERSION)
        if self._version not in _KNOWN_VERSIONS:
            raise self._error(
                ("version",),
                f"version {self._version} of the mapping is not known",
                f"this geode-tui reads version {FORMAT_VERSION}",
            )
        mapping = Mapping(
            tuple(self._node(n, p) for n, p in self._items(top, "nodes", ())),
            tuple(self._relationship(n, p) for n, p in self._items(top, "relationships", ())),
            self._string(top, "database", (), ""),
            queries=self._queries(top),
            waivers=tuple(self._waiver(n, p) for n, p in self._items(top, "waivers", ())),
            ignored=self._strings(top, "ignored", ()),
            waves=tuple(self._wave(n, p) for n, p in self._items(top, "waves", ())),
            statistics=tuple(self._statistic(n, p) for n, p in self._items(top, "statistics", ())),
            checks=tuple(self._pair(n, p) for n, p in self._items(top, "checks", ())),
        )
        return MappingFile(mapping, self._name, self._lines)

    def _node(self, node: yaml.Node, place: Place) -> NodeRule:
        fields = self._mapping(node, place, _NODE_FIELDS)
        properties = self._properties(fields, place)
        return NodeRule(
            self._graph_name(fields, "label", place),
            self._table(fields, place),
            self._key(fields, place, properties, row_allowed=False),
            properties,
            self._string(fields, "because", place, ""),
            self._boolean(fields, "include", place),
            self._graph_name(fields, "name", place) if "name" in fields else "",
            self._string(fields, "where", place, ""),
            self._labels(fields, place),
            self._labels_by(fields, place),
            tuple(self._join(n, p) for n, p in self._items(fields, "joins", place)),
            self._string(fields, "keep_first", place, ""),
        )

    def _queries(self, top: dict[str, yaml.Node]) -> tuple[Query, ...]:
        made: list[Query] = []
        for node, place in self._items(top, "queries", ()):
            fields = self._mapping(node, place, {"name", "sql"})
            query = Query(self._string(fields, "name", place), self._string(fields, "sql", place))
            if query.name in (earlier.name for earlier in made):
                raise self._error((*place, "name"), f"query {query.name} stands twice", "rename it")
            made.append(query)
        return tuple(made)

    def _waiver(self, node: yaml.Node, place: Place) -> Waiver:
        fields = self._mapping(node, place, {"code", "subject", "reason"})
        reason = self._string(fields, "reason", place)
        if not reason.strip():
            raise self._error((*place, "reason"), "the reason is empty", "say why it is accepted")
        return Waiver(
            self._string(fields, "code", place), self._string(fields, "subject", place), reason
        )

    def _wave(self, node: yaml.Node, place: Place) -> Wave:
        fields = self._mapping(node, place, {"name", "rules"})
        rules = []
        for item, inner in self._items(fields, "rules", place):
            if not isinstance(item, yaml.ScalarNode):
                hint = 'write its label, or "(Start)-[TYPE]->(End)"'
                raise self._error(inner, "a rule is named by its id", hint)
            rules.append(str(item.value))
        return Wave(self._string(fields, "name", place), tuple(rules))

    def _statistic(self, node: yaml.Node, place: Place) -> str:
        if not isinstance(node, yaml.ScalarNode):
            hint = 'write Label.property, Label.*, or "*" for all'
            raise self._error(place, "a statistic is named by rule and property", hint)
        return str(node.value)

    def _pair(self, node: yaml.Node, place: Place) -> Pair:
        fields = self._mapping(node, place, {"name", "sql", "gql", "tolerance"})
        return Pair(
            self._string(fields, "name", place),
            self._string(fields, "sql", place),
            self._string(fields, "gql", place),
            self._tolerance(fields, place),
        )

    def _tolerance(self, fields: dict[str, yaml.Node], place: Place) -> float:
        value = self._string(fields, "tolerance", place, "0")
        try:
            tolerance = float(value)
        except ValueError:
            tolerance = math.nan
        if not 0 <= tolerance < math.inf:
            what = f"tolerance is {value}"
            raise self._error((*place, "tolerance"), what, "write a number, like 0.01")
        return tolerance

    def _labels(self, fields: dict[str, yaml.Node], place: Place) -> tuple[str, ...]:
        labels = self._strings(fields, "labels", place)
        for label in labels:
            self._require_graph_name(label, "label", (*place, "labels"))
        return labels

    def _labels_by(self, fields: dict[str, yaml.Node], place: Place) -> LabelBy | None:
        node = fields.get("labels_by")
        if node is None or _is_null(node):
            return None
        inner = (*place, "labels_by")
        by = self._mapping(node, inner, {"column", "join", "labels"})
        pairs = by.get("labels")
        if not isinstance(pairs, yaml.MappingNode):
            raise self._error(
                (*inner, "labels"), "labels is no list of value: label pairs", "write {dog: Dog}"
            )
        place = (*inner, "labels")
        labels: dict[str, str] = {}
        for value, label in pairs.value:
            self._lines[place] = value.start_mark.line + 1
            if not isinstance(value, yaml.ScalarNode) or not isinstance(label, yaml.ScalarNode):
                raise self._error(place, "a value and its label are texts", "write {dog: Dog}")
            if str(value.value) in labels:
                raise self._error(place, f"value {value.value!r} stands twice", "remove one")
            self._require_graph_name(str(label.value), "label", place)
            labels[str(value.value)] = str(label.value)
        return LabelBy(
            self._string(by, "column", inner),
            tuple(labels.items()),
            self._string(by, "join", inner, ""),
        )

    def _join(self, node: yaml.Node, place: Place) -> Join:
        fields = self._mapping(node, place, {"name", "table", "columns", "references"})
        return Join(
            self._graph_name(fields, "name", place),
            self._table(fields, place),
            *self._pairs(fields, place),
        )

    def _pairs(
        self, fields: dict[str, yaml.Node], place: Place
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        columns = self._strings(fields, "columns", place)
        references = self._strings(fields, "references", place)
        if len(columns) != len(references):
            raise self._error(
                place,
                f"{len(columns)} columns and {len(references)} references",
                "each column points at one column of the other table",
            )
        return columns, references

    def _relationship(self, node: yaml.Node, place: Place) -> RelationshipRule:
        fields = self._mapping(node, place, _RELATIONSHIP_FIELDS)
        properties = self._properties(fields, place)
        return RelationshipRule(
            self._graph_name(fields, "type", place),
            self._table(fields, place),
            self._endpoint(fields, "from", place),
            self._endpoint(fields, "to", place),
            self._key(fields, place, properties, row_allowed=True),
            properties,
            self._string(fields, "because", place, ""),
            self._boolean(fields, "include", place),
            self._string(fields, "where", place, ""),
        )

    def _endpoint(self, fields: dict[str, yaml.Node], key: str, place: Place) -> Endpoint:
        if key not in fields:
            raise self._error(place, f"{key} is missing", "a relationship has a from and a to")
        inner = (*place, key)
        node = "label" if self._version == 1 else "node"
        end = self._mapping(fields[key], inner, {node, "columns", "references"})
        return Endpoint(self._graph_name(end, node, inner), *self._pairs(end, inner))

    def _properties(self, fields: dict[str, yaml.Node], place: Place) -> tuple[Property, ...]:
        made: list[Property] = []
        for node, inner in self._items(fields, "properties", place):
            item = self._property(node, inner)
            if item.name in (earlier.name for earlier in made):
                raise self._error(
                    (*inner, "name"), f"property {item.name} stands twice", "rename one of them"
                )
            made.append(item)
        return tuple(made)

    def _property(self, node: yaml.Node, place: Place) -> Property:
        fields = self._mapping(node, place, _PROPERTY_FIELDS)
        graph_type = self._string(fields, "type", place)
        if graph_type not in GRAPH_TYPES:
            raise self._error(
                (*place, "type"), f"no type {graph_type}", nearest(graph_type, GRAPH_TYPES)
            )
        expression = self._string(fields, "expression", place, "")
        return Property(
            self._graph_name(fields, "name", place),
            self._string(fields, "column", place, "" if expression else None),
            graph_type,
            self._boolean(fields, "include", place),
            expression,
            self._string(fields, "join", place, ""),
        )

    def _key(
        self,
        fields: dict[str, yaml.Node],
        place: Place,
        properties: tuple[Property, ...],
        row_allowed: bool,
    ) -> tuple[str, ...]:
        names = self._strings(fields, "key", place)
        if row_allowed and names == (ROW,):
            return names
        known = [item.name for item in properties]
        for place_in_key, name in enumerate(names):
            if name in names[:place_in_key]:
                raise self._error((*place, "key"), f"key names {name} twice", "remove one")
            if name not in known:
                raise self._error(
                    (*place, "key"), f"key names {name}, which is no property", nearest(name, known)
                )
        return names

    def _table(self, fields: dict[str, yaml.Node], place: Place) -> TableName:
        value = self._string(fields, "table", place)
        try:
            return TableName.parse(value)
        except ValueError as error:
            raise self._error(
                (*place, "table"), str(error), "write the schema too, like public.orders"
            ) from error

    def _graph_name(self, fields: dict[str, yaml.Node], key: str, place: Place) -> str:
        value = self._string(fields, key, place)
        self._require_graph_name(value, key, (*place, key))
        return value

    def _require_graph_name(self, value: str, noun: str, place: Place) -> None:
        if not is_graph_name(value):
            raise self._error(
                place,
                f"{value!r} cannot be a {noun}",
                "use letters, digits and _, a letter first, at most 128",
            )

    def _items(
        self, fields: dict[str, yaml.Node], key: str, place: Place
    ) -> Iterable[tuple[yaml.Node, Place]]:
        node = fields.get(key)
        if node is None or _is_null(node):
            return
        if not isinstance(node, yaml.SequenceNode):
            raise self._error((*place, key), f"{key} is not a list", "start each item with -")
        for number, item in enumerate(node.value):
            inner = (*place, key, number)
            self._lines[inner] = item.start_mark.line + 1
            yield item, inner

    def _mapping(self, node: yaml.Node, place: Place, known: set[str]) -> dict[str, yaml.Node]:
        self._lines[place] = node.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            raise self._error(place, "expected name: value pairs", f"known: {_listed(known)}")
        fields: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = str(key_node.value)
            inner = (*place, key)
            self._lines[inner] = key_node.start_mark.line + 1
            if key not in known:
                hint = nearest(key, known) or f"known: {_listed(known)}"
                raise self._error(inner, f"no field {key!r} here", hint)
            if key in fields:
                raise self._error(inner, f"{key} stands twice", "remove one of them")
            fields[key] = value
        return fields

    def _string(
        self, fields: dict[str, yaml.Node], key: str, place: Place, default: str | None = None
    ) -> str:
        node = fields.get(key)
        if node is None or _is_null(node):
            if default is None:
                raise self._error(place, f"{key} is missing", f"add {key}: …")
            return default
        if not isinstance(node, yaml.ScalarNode):
            raise self._error((*place, key), f"{key} is not a text", f"write {key}: …")
        return str(node.value)

    def _strings(self, fields: dict[str, yaml.Node], key: str, place: Place) -> tuple[str, ...]:
        node = fields.get(key)
        if node is None or _is_null(node):
            return ()
        good = isinstance(node, yaml.SequenceNode) and all(
            isinstance(item, yaml.ScalarNode) for item in node.value
        )
        if not good:
            raise self._error((*place, key), f"{key} is not a list", f"write {key}: [a, b]")
        return tuple(str(item.value) for item in node.value)

    def _boolean(self, fields: dict[str, yaml.Node], key: str, place: Place) -> bool:
        value = self._string(fields, key, place, "true").lower()
        if value not in ("true", "false"):
            raise self._error((*place, key), f"{key} is {value}", "write true or false")
        return value == "true"

    def _integer(self, fields: dict[str, yaml.Node], key: str, place: Place, default: int) -> int:
        value = self._string(fields, key, place, str(default))
        if not value.isdigit():
            raise self._error((*place, key), f"{key} is not a number", f"write {key}: {default}")
        return int(value)

    def _error(self, place: Place, what: str, hint: str = "") -> MappingError:
        line = MappingFile(Mapping(), self._name, self._lines).line(place)
        where = f"{self._name} line {line}" if line else self._name
        return MappingError(f"{where}: {what}", "", hint)


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _listed(known: set[str]) -> str:
    return ", ".join(sorted(known))
