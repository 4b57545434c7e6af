"""What a person should know before a run: findings with evidence, a mend, and waivers."""

from __future__ import annotations

from geode_tui.mapping.assessment import (
    CODES,
    SEVERITIES,
    Finding,
    Severity,
    assess,
    unwaive,
    waive,
)

__all__ = ["CODES", "SEVERITIES", "Finding", "Severity", "assess", "unwaive", "waive"]
