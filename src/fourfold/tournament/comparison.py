"""The result of a comparison: its entries, a table for the terminal, a report, and the numbers in JSON."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from fourfold.metrics import Measurement
from fourfold.output import notebook
from fourfold.tournament.baselines import losses
from fourfold.tournament.entries import Entry, mark
from fourfold.tournament.report import save_report
from fourfold.tournament.results import Results
from fourfold.tournament.verdict import Line, verdict
from fourfold.tournament.words import plural, short, within, wrapped
from fourfold.vocabulary import Kind

__all__ = ["Comparison"]


@final
@dataclass(frozen=True, kw_only=True)
class Comparison(Results):
    """The result of a comparison: its table, verdict, report and record are drawn from its attributes.

    Its attributes are described at :class:`~fourfold.tournament.results.Results`.
    """

    @property
    def verdict(self) -> list[Line]:
        """The lines of the verdict: privacy of rows, warnings, then the rest."""
        return verdict(self)

    def record(self) -> dict[str, Any]:
        """The content of ``results.json``."""
        about = {
            "budget": self.settings.budget,
            "size": self.settings.size,
            "seeds": list(self.settings.numbers),
            "folds": self.settings.folds,
            "places": self.places,
            "left_out": self.left_out,
            "truth": None if math.isnan(self.truth) else self.truth,
            "marked": {entry.name: entry.marks for entry in self.entries if entry.marks},
            "verdict": [str(line) for line in self.verdict],
        }
        baselines, published = (
            [rated.entry.record() | {"seconds": rated.seconds} for rated in group]
            for group in (self.baselines, self.published)
        )
        defeats = losses(self.entries, self.baselines)
        samples = [rated.entry.record() for rated in self.samples]
        return {
            **self.about(),
            **about,
            "paradigms": [entry.record() | {"loses": defeats[entry.name]} for entry in self.entries],
            "baselines": baselines,
            "published": published,
            "samples": samples,
        }

    def __str__(self) -> str:
        """Warnings, a table with likelihoods by kind, and the verdict, in at most 80 columns."""
        lines = self.verdict
        first = [wrapped(str(line)) for line in lines if line.warning]
        last = [str(line) if line.title == "Next" else wrapped(str(line)) for line in lines if not line.warning]
        omissions = f"left out, each with its reason in the report: {', '.join(self.left_out)}"
        return "\n".join([*first, *self._table(), *last, *([wrapped(omissions)] if self.left_out else [])])

    def _repr_html_(self) -> str:
        """The verdict and the table, for notebooks."""
        verdict = [(line.title, str(line).partition(": ")[2]) for line in self.verdict]
        table = notebook.grid(self._rows(), "; ".join(" ".join(note.split()) for note in self._notes()))
        title = f"{self.data['name']}: {plural(len(self.entries), 'way')} to generate it"
        return notebook.block(title, notebook.facts(verdict), table)

    def _table(self) -> list[str]:
        """The rows in columns, and their explanation."""
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return [*table, *self._notes()]

    def _rows(self) -> list[tuple[str, ...]]:
        """The table, head first: likelihoods with their mark, scores with half their interval."""
        head, covered = self._first("headline"), self._first("coverage")
        quality = head.name.partition("[")[0].replace("_distance", "") if head else "quality"
        rows: list[tuple[str, ...]] = [("paradigm", "likelihood", quality, "coverage", "evals", "ms")]
        rows += [row for entry in self.entries for row in (_row(entry), *_of_draws(entry))]
        rows += [_row(rated.entry) for rated in self.baselines]
        rows += [(f"{name} *", *rest) for name, *rest in (_row(rated.entry) for rated in self.published)]
        rows += [(f"{name} +", *rest) for name, *rest in (_row(rated.entry) for rated in self.samples)]
        rows.append(("floor", "", *map(_floor, (head, covered)), "", ""))
        return rows

    def _notes(self) -> list[str]:
        """The explanation of the table."""
        side, about, end = ("≥", "≳", "least") if self.data["unit"] == "nats" else ("≤", "≲", "most")
        marks = f"= exact, {side} a bound (the truth is at {end} this), ≈ an estimate,"
        marks += f"\n{about} an estimate of a bound, ~ unnormalised"
        kinds = f"in {self.data['unit']}; kinds are not ranked against each other; ± is half a 95 % interval"
        judged = f"all judged by {plural(self.n, 'sample')}; the floor is what training examples score"
        noted = (
            ["! trained too little, beside other work, or on other hardware: see above"]
            if any(e.marks for e in self.entries)
            else []
        )
        noted += ["* published: not trained under this budget, so not ranked"] if self.published else []
        noted += ["+ samples of another system: no budget known, no likelihood, so not ranked"] if self.samples else []
        return [marks, kinds, judged, *noted]

    def _first(self, name: str) -> Measurement | None:
        scores = (entry.headline if name == "headline" else entry.score(name) for entry in self.entries)
        return next((score for score in scores if score is not None), None)

    def save(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Write the numbers beside the report (``results.json`` for ``report.html``), then the report. Return its path.

        Raises:
            ValueError: if a file is in the way that no comparison wrote, or the place cannot be written to.
            RuntimeError: if the report cannot be drawn. The numbers are written.
        """
        return save_report(self, self.record(), Path(path))


def _of_draws(entry: Entry) -> list[tuple[str, ...]]:
    """A row with the scores of random draws, if the model shows medians or means."""
    scores = [entry.of_draws(score) for score in (entry.headline, entry.score("coverage"))]
    return [("  its draws", "", *map(within, scores), "", "")] if any(scores) else []


def _row(entry: Entry) -> tuple[str, ...]:
    """An entry as the cells of the table."""
    if not entry.has_scores:
        return entry.name, "failed" if entry.failures else "not run", "", "", "", ""
    p = entry.likelihood
    likelihood = "none" if p is None or p.kind in (None, Kind.NONE) else f"{mark(p)} {p.value:.3g}"
    quality, covered = (within(score) for score in (entry.headline, entry.score("coverage")))
    cost = [entry.score(name) for name in ("evaluations_per_sample", "milliseconds_per_sample")]
    evaluations, milliseconds = ("" if score is None else short(score.value) for score in cost)
    name = f"{entry.name} !" if entry.marks else entry.name
    return name, likelihood, quality, covered, evaluations, milliseconds


def _floor(score: Measurement | None) -> str:
    """The floor of a score and half its interval."""
    if score is None:
        return ""
    return within(Measurement(score.name, score.floor, score.floor_low, score.floor_high))
