"""All that is known of a model's quality against its original, for a program and for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from decodeloop.errors import printable
from decodeloop.quality.comparing import Quality
from decodeloop.quality.questions import Answers


@dataclass(frozen=True)
class Report:
    """A model beside its original: on the same texts and, if they were asked, questions."""

    changed: Quality
    original: Quality
    answers: Answers | None = None
    original_answers: Answers | None = None

    def as_dict(self) -> dict[str, Any]:
        """The figures by name; what has an interval is a dict of `value`, `low` and `high`."""
        figures = {
            "perplexity": self.changed.perplexity,
            "original_perplexity": self.original.perplexity,
            "perplexity_ratio": self.changed.perplexity_over(self.original),
            "kl": self.changed.kl,
            "agreement": self.changed.agreement,
        }
        if self.answers and self.original_answers:
            figures["accuracy"] = self.answers.accuracy
            figures["original_accuracy"] = self.original_answers.accuracy
            figures["accuracy_change"] = self.answers.accuracy_less(self.original_answers)
        counts = {
            "texts": len(self.changed.predictions),
            "predictions": sum(self.changed.predictions),
        }
        if self.answers:
            counts["questions"] = len(self.answers.chosen)
        return counts | {name: interval.as_dict() for name, interval in figures.items()}


def show_report(name: str, against: str, report: Report, console: Console) -> None:
    """Print a report as a table of two columns, a model and its original."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for column in (name, f"{against}, the original"):
        table.add_column(escape(printable(column)), justify="right", no_wrap=True)
    changed, original = report.changed, report.original
    table.add_row("perplexity", str(changed.perplexity), str(original.perplexity))
    table.add_row("  more than it was", changed.perplexity_over(original).more().shown(100) + " %")
    table.add_row("KL from the original, nats", str(changed.kl))
    table.add_row("same best token", changed.agreement.shown(100) + " %")
    if report.answers and report.original_answers:
        table.add_row(
            "right answers",
            report.answers.accuracy.shown(100) + " %",
            report.original_answers.accuracy.shown(100) + " %",
        )
        more = report.answers.accuracy_less(report.original_answers)
        table.add_row("  more than it was", more.shown(100) + " %")
    console.print(table, highlight=False)
    told = f"{sum(changed.predictions):,} predictions in {len(changed.predictions)} texts"
    if report.answers:
        told += f", {len(report.answers.chosen)} questions"
    console.print(
        f"{told}; in brackets 95 % intervals, those of comparisons on the same draws of texts.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
