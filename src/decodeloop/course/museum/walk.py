"""A walk through the museum with parts of one's own: which faults an engine of them would ship."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from decodeloop.course.museum.faults import FAULTS, Fault
from decodeloop.course.museum.rig import Kit, Shipped
from decodeloop.serve import BlockParts, attend_paged


@dataclass(frozen=True)
class Finding:
    """What came of one fault: `shipped` says how it showed, None that it was held off."""

    fault: Fault
    shipped: str | None


def shipped_by(fault: Fault, kit: Kit) -> str | None:
    """How an engine of this kit shows a fault; None if it does not."""
    try:
        fault.probe(kit)
    except Shipped as symptom:
        return str(symptom)
    except Exception as error:  # what a faulty part raises may be anything
        return f"it stopped with {type(error).__name__}: {str(error).splitlines()[0]}"
    return None


def visit(kit: Kit) -> list[Finding]:
    """An engine of this kit, held against every fault."""
    return [Finding(fault, shipped_by(fault, kit)) for fault in FAULTS]


def walk(
    parts: BlockParts | None = None, attend_paged: Callable[..., Tensor] = attend_paged
) -> list[Finding]:
    """The library's engine over your parts, held against every fault; prints what it found."""
    findings = visit(Kit(block_parts=parts or BlockParts(), attend_paged=attend_paged))
    print(table(findings))
    return findings


def table(findings: Sequence[Finding]) -> str:
    """All exhibits, those that were shipped with what came of them."""
    lines = []
    for finding in findings:
        fault = finding.fault
        mark = "✓" if finding.shipped is None else "✗"
        lines.append(f"{mark} {fault.name:<60}{fault.lives_in:<15}{', '.join(fault.threads)}")
        if finding.shipped is not None:
            lines.append(f"    yours: {finding.shipped}")
    shipped = sum(finding.shipped is not None for finding in findings)
    lines.append(f"\n{shipped} of {len(findings)} faults would have been shipped with these parts")
    return "\n".join(lines)


__all__ = ["Finding", "shipped_by", "table", "visit", "walk"]
