"""A ledger as one JSON document, as docs/cli.md describes it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from geode_tui.validation.ledger import Check, Ledger, most_wrong
from geode_tui.validation.report import CHECKS, Facts, make_report

_NO_FACTS = Facts("", "", "")


def ledger_document(ledger: Ledger, facts: Facts | None = None) -> dict[str, Any]:
    """The ledger as a JSON document, with the run where the facts tell it."""
    sampled, differing = ledger.sampled
    report = make_report(ledger, facts or _NO_FACTS)
    return {
        **({"run": facts.run} if facts and facts.run is not None else {}),
        "source": report.facts.source or None,
        "target": report.facts.target or None,
        "mapping": report.facts.mapping or None,
        "deep": report.deep,
        "states": report.states,
        "accepted": report.rows_in("accepted"),
        "repaired": report.rows_in("repaired"),
        "balanced": ledger.balanced,
        "valid": ledger.valid,
        "fence": ledger.fence,
        "taken": ledger.taken,
        "entries": [
            asdict(entry)
            | {
                "missing": entry.missing,
                "balanced": entry.balanced,
                "state": entry.state,
                "verdict": entry.verdict,
            }
            for entry in ledger.entries
        ],
        "differences": [asdict(difference) for difference in ledger.differences],
        "digests": [asdict(digest) for digest in ledger.digests],
        "checks": [asdict(check) | {"state": _state_of(check)} for check in _ordered(ledger)],
        "sampled": {
            "rows": sampled,
            "differing": differing,
            "at_most_wrong": most_wrong(sampled, differing),
        },
    }


def as_json(ledger: Ledger, facts: Facts) -> str:
    """The document's text; what a terminal might obey is escaped."""
    text = json.dumps(ledger_document(ledger, facts), ensure_ascii=False, indent=2)
    escaped = (c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    return "".join(escaped) + "\n"


def _ordered(ledger: Ledger) -> list[Check]:
    order = list(CHECKS)
    return sorted(ledger.checks, key=lambda check: order.index(check.kind))


def _state_of(check: Check) -> str:
    """`passed`, `accepted` or `failed`."""
    return "passed" if check.passed else "accepted" if check.fine else "failed"
