"""Findings that somebody accepted: with a reason, in the mapping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from geode_tui.errors import MappingError
from geode_tui.mapping.assessment.finding import CODES, Finding, Part, together
from geode_tui.mapping.file import nearest
from geode_tui.mapping.model import Mapping, Waiver

Accepted = dict[tuple[str, str], str]
"""The reasons by code and subject."""


def accepted(mapping: Mapping) -> Accepted:
    """The waivers of a mapping."""
    return {(waiver.code, waiver.subject): waiver.reason for waiver in mapping.waivers}


def waive(mapping: Mapping, finding: Finding, reason: str) -> Mapping:
    """Accept a finding, with the reason for it.

    Raises MappingError where the reason is empty, or where a run would stop at it all the same.
    """
    if not finding.waivable:
        raise MappingError(
            f"{finding.code} of {finding.subject} cannot be waived",
            "a run would stop at it",
            finding.mend or "mend it, or exclude it in the mapping",
        )
    if not reason.strip():
        raise MappingError("a waiver needs a reason", "", "say why the finding is accepted")
    kept = unwaive(mapping, finding).waivers
    made = Waiver(finding.code, finding.subject, reason.strip())
    return replace(mapping, waivers=(*kept, made))


def unwaive(mapping: Mapping, finding: Finding) -> Mapping:
    """Take the waiver of a finding back."""
    place = (finding.code, finding.subject)
    kept = tuple(w for w in mapping.waivers if (w.code, w.subject) != place)
    return replace(mapping, waivers=kept)


def marked(findings: Iterable[Finding], reasons: Accepted) -> Iterator[Finding]:
    """The findings, the accepted ones with their reason."""
    for finding in findings:
        reason = reasons.get((finding.code, finding.subject), "")
        yield replace(finding, waived=reason) if reason and finding.waivable else finding


def without_waived_parts(
    parts: Iterable[Part], reasons: Accepted
) -> tuple[list[Part], list[Finding]]:
    """The parts that nobody accepted by name, and a waived finding for each that somebody did."""
    if not reasons:
        return list(parts), []
    left: list[Part] = []
    waived: list[Finding] = []
    for part in parts:
        if (part.code, part.subject) in reasons:
            waived += marked(together([part]), reasons)
        else:
            left.append(part)
    return left, waived


def idle_waivers(mapping: Mapping, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Waivers that accept nothing: mended meanwhile, or a wrong word."""
    used = {(finding.code, finding.subject) for finding in findings}
    for waiver in mapping.waivers:
        if (waiver.code, waiver.subject) not in used:
            message = f"the waiver of {waiver.code} accepts nothing: there is no such finding"
            advice = "" if waiver.code in CODES else nearest(waiver.code, CODES)
            yield Finding(
                "information",
                "idle_waiver",
                waiver.subject,
                message,
                "",
                advice or "remove it from the mapping",
            )
