"""``judge``: samples of any system beside real data, by the scores, floors and intervals that models have here."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Unpack, final

from fourfold.data import IN_MEMORY, Data, DataError, Dataset, Split, load, read_raw
from fourfold.data.model_rows import IMPOSSIBLE, IMPROBABLE
from fourfold.data.separate import cut, separate
from fourfold.machine.hardware import machine
from fourfold.metrics import Measurement
from fourfold.output import notebook
from fourfold.pictures.panels import short
from fourfold.settings.data import DataKeywords, DataOptions, name_of, words_of
from fourfold.settings.declaration import spelled_out
from fourfold.spaces.table import RULES
from fourfold.spaces.text import FOREIGN
from fourfold.tasks.evaluation import examples
from fourfold.tournament.baselines import losses, rate
from fourfold.tournament.benchmark import Benchmark
from fourfold.tournament.outputs import check_outputs
from fourfold.tournament.outside import Outside, rate_outside, read_outside
from fourfold.tournament.ranking import apart_from_floor, at_floor
from fourfold.tournament.report import save_report
from fourfold.tournament.results import Results, described, versions
from fourfold.tournament.settings import Settings
from fourfold.tournament.verdict import Line, verdict
from fourfold.tournament.words import label, within, wrapped

__all__ = ["Judgement", "judge", "words_beside"]


@final
@dataclass(frozen=True, kw_only=True)
class Judgement(Results):
    """The scores of the samples of another system beside those of real data. Printed, they take one screen.

    Attributes:
        command_words: the command line that repeats it. Empty if only Python can.
        call_words: the call in Python that repeats it.
    """

    command_words: str = ""
    call_words: str = ""

    @property
    def command(self) -> str:
        return self.command_words

    @property
    def call(self) -> str:
        return self.call_words

    @property
    def scores(self) -> tuple[Measurement, ...]:
        """The scores, the headline first."""
        return self.samples[0].entry.scores[1:]

    @property
    def verdict(self) -> list[Line]:
        """The lines of the verdict: privacy of rows, warnings, then the rest."""
        return verdict(self)

    def record(self) -> dict[str, Any]:
        """The content of the file of numbers beside the report."""
        entries = [rated.entry for rated in self.samples]
        defeats = losses(entries, self.baselines)
        return {
            **self.about(),
            "verdict": [str(line) for line in self.verdict],
            "paradigms": [],
            "baselines": [rated.entry.record() | {"seconds": rated.seconds} for rated in self.baselines],
            "samples": [entry.record() | {"loses": defeats[entry.name]} for entry in entries],
        }

    def save(self, path: str | os.PathLike[str] = "judge.html") -> Path:
        """Write the numbers beside the report (``judge.json`` for ``judge.html``), then the report. Return its path.

        Raises:
            ValueError: if a file is in the way that fourfold did not write, or the place cannot be written to.
        """
        return save_report(self, self.record(), Path(path))

    def __str__(self) -> str:
        """The scores beside those of real examples, and the verdict, in at most 80 columns."""
        items = self.dataset.space.item_name
        about = f"{self.samples[0].entry.name} beside {self.data['name']}: {self.n:,} samples, "
        about += f"{self.data['references']:,} test examples; copies are looked for among {self.data['train']:,} "
        rows = [(short(name, LONGEST), *others) for name, *others in self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines = [wrapped(str(line)) for line in self.verdict]
        note = "± is half a 95 % interval; worse: beyond both intervals"
        return "\n".join([wrapped(f"{about}training {items}"), "", *table, note, "", *lines])

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """The table of scores, head first."""
        head = ("score", "samples", f"real {self.dataset.space.item_name}", "")
        return [head, *((label(s.name), within(s), within(_floor(s)), words_beside(s)) for s in self.scores)]

    def _repr_html_(self) -> str:
        """The verdict and the table, for notebooks."""
        lines = [(line.title, str(line).partition(": ")[2]) for line in self.verdict]
        title = f"{self.samples[0].entry.name} beside {self.data['name']}"
        return notebook.block(title, notebook.facts(lines), notebook.grid(self.rows, ""))


LONGEST = 36
"""The most letters of the name of a score in the terminal."""


def _floor(score: Measurement) -> Measurement:
    """The floor of a score as a score."""
    return Measurement(score.name, score.floor, score.floor_low, score.floor_high)


def words_beside(score: Measurement) -> str:
    """A word on a score beside its floor. Empty where neither direction is better."""
    if not score.better or math.isnan(score.value) or math.isnan(score.floor):
        return ""
    return "like real" if at_floor(score) else "worse" if apart_from_floor(score) else "unclear"


# --- the work ---------------------------------------------------------------------------------------------------------


@spelled_out(DataKeywords, {f.name: f.default for f in fields(DataOptions)})
def judge(
    real: Data,
    synthetic: Data,
    *,
    train: Data | None = None,
    held_out: Data | None = None,
    n: int = 2000,
    features: str | None = None,
    baselines: bool = True,
    out: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] | None = None,
    **keywords: Unpack[DataKeywords],
) -> Judgement:
    """Measure the samples of any system as the samples of a model are measured here.

    ``real`` alone is split by the seed: samples are held against its test split, and copies are looked for in its
    training split. The test split of few examples is larger than a tenth, see :data:`MOST_TEST`. With ``train`` or
    ``held_out``, every example of each file has its part:

    * ``train``: the examples that the system learned from. Copies are looked for among these, and ``real`` are the
      references.
    * ``held_out``: examples that it never saw. Without ``train`` they are the references, and it learned from ``real``.
      With ``train`` they stand in the place of samples for the floors of copies.

    Args:
        real: data for :func:`fourfold.load`.
        synthetic: the samples: data of the same kind.
        train: see above.
        held_out: see above.
        n: the most samples and references.
        features: feature space of images, see :func:`fourfold.compare`.
        baselines: whether the baselines of the space stand beside the samples. They take most of the time.
        out: the file of the report. Its numbers are written beside it.
        say: is called with notes on what reading the data changed.
        keywords: the settings of :class:`~fourfold.settings.data.DataOptions`, such as ``labels``, ``given`` and
            ``target``, by which all of the files are read.

    Raises:
        DataError: for data that cannot be read, and samples of another kind, size or other columns.
        ValueError: for too few samples, or an unknown feature space.
        TypeError: for a space without measures.
    """
    say = _without_models(say or (lambda line: None))
    settings = Settings.of(n=n, features=features, seed=keywords.get("seed") or 0, out=out, data_options=keywords)
    if out is not None:
        check_outputs(Path(out))
    reading: DataKeywords = {"keep_rare": True, **keywords}  # rows are judged as they are
    try:
        dataset, outside, notes = _read(real, synthetic, train, held_out, n, reading)
    except DataError as error:
        wider, words = _wider(str(error), keywords)
        if not wider:
            raise
        say(f"{str(error).partition(':')[0]}: {words}")
        settings = dataclasses.replace(settings, data_options={**keywords, **wider})
        dataset, outside, notes = _read(real, synthetic, train, held_out, n, {**reading, **wider})
    dataset.space.check_features(features)
    for note in notes:
        say(note)
    references = examples(dataset, n)
    count = min(len(outside), len(references.test))
    benchmark = Benchmark(dataset, references, settings.protocol, count, settings.seed)
    judgement = Judgement(
        entries=(),
        data=described(dataset, references),
        settings=settings,
        hardware=machine(),
        versions=versions(),
        dataset=dataset,
        n=count,
        baselines=rate(benchmark) if baselines else (),
        samples=(rate_outside(outside, benchmark),),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command_words=_command([real, synthetic], {"train": train, "held-out": held_out}, settings),
        call_words=_call([real, synthetic], {"train": train, "held_out": held_out}, settings),
    )
    if out is not None:
        judgement.save(out)
    return judgement


NO_VECTOR = re.compile(r"must (hold numbers|be a number|be a finite float32), got")
"""The fault of a value that stands in no vector."""


def _wider(fault: str, keywords: DataKeywords) -> tuple[DataKeywords, str]:
    """The setting by which samples can be read that have a fault beside the real data, and words for it.

    The setting is empty if there is none, or if it is set already.
    """
    if FOREIGN in fault and not keywords.get("tokens"):
        return {"tokens": "bytes"}, "has characters that training text lacks: all is compared as bytes"
    if NO_VECTOR.search(fault) and not keywords.get("space"):
        return {"space": "table"}, "is no number, as all of the real data are: all is compared as rows of a table"
    return {}, ""


MOST_TEST = 0.45
"""The most of real examples that are references, where as many as are asked for are more than a tenth."""


def _read(
    real: Data, synthetic: Data, train: Data | None, held_out: Data | None, n: int, keywords: DataKeywords
) -> tuple[Dataset, Outside, list[str]]:
    """The real data, the samples, and notes on both."""
    dataset = _real(real, train, held_out, n, keywords)
    notes = [*dataset.notes, *(f"skipped: {file}" for file in dataset.skipped)]
    return dataset, read_outside(_stem(synthetic), synthetic, dataset, keywords, notes.append), notes


def _without_models(say: Callable[[str], None]) -> Callable[[str], None]:
    """Leave out notes on models: on rules that their samples keep, and on probabilities. Judged samples tell none."""

    def tell(note: str) -> None:
        if not any(part in note for part in (IMPOSSIBLE, IMPROBABLE, RULES)):
            say(note)

    return tell


def _split(real: Data, n: int, keywords: DataKeywords) -> Dataset:
    """One source that is split by the seed, with up to ``n`` examples in its test split if it is not cut otherwise."""
    dataset = load(real, **keywords)
    count = dataset.examples + len(dataset.validation) + len(dataset.test)
    share = min(n / count, MOST_TEST)
    cut_otherwise = keywords.get("fractions") or dataset.streamed is not None or dataset.space.window is not None
    if cut_otherwise or share * count <= len(dataset.test):
        return dataset
    wider: DataKeywords = {**keywords, "fractions": (0.9 - share, 0.1, share)}
    return load(real, **wider)


def _real(real: Data, train: Data | None, held_out: Data | None, n: int, keywords: DataKeywords) -> Dataset:
    """The data set of real examples: one source that is split, or one for each part."""
    if train is None and held_out is None:
        return _split(real, n, keywords)
    training = load(real if train is None else train, **keywords)
    notes = list[str]()

    def split_of(data: Data) -> Split:
        skip_bad = bool(keywords.get("skip_bad"))
        part, changes = read_raw(data, training.space, labels=keywords.get("labels"), skip_bad=skip_bad)
        notes.extend(changes)
        return part

    name = name_of(real)
    if train is not None and held_out is not None:
        parts = split_of(real), split_of(held_out)
    else:
        source = real if held_out is None else held_out
        parts = cut(name_of(source), split_of(source), training)
    return separate(training, *parts, name, tuple(notes))


def _stem(data: Data) -> str:
    return Path(data).stem if isinstance(data, (str, os.PathLike)) else "samples"


def _command(data: list[Data], parts: dict[str, Data | None], settings: Settings) -> str:
    """The command line. Empty where data lies in memory, or a setting has no option."""
    others = {name: part for name, part in parts.items() if part is not None}
    options = [words_of(name, value) for name, value in (settings.data_options or {}).items() if value is not None]
    if None in options or any(name_of(part) == IN_MEMORY for part in (*data, *others.values())):
        return ""
    words = ["fourfold", "judge", *map(name_of, data)]
    words += [word for name, part in others.items() for word in (f"--{name}", name_of(part))]
    words += [word for option in options for word in option or []]
    words += ["-n", str(settings.n)] if settings.n != Settings.n else []
    words += ["--features", settings.features] if settings.features is not None else []
    return shlex.join(words)


def _call(data: list[Data], parts: dict[str, Data | None], settings: Settings) -> str:
    """The call in Python."""
    words = [repr(name) if (name := name_of(part)) != IN_MEMORY else "data" for part in data]
    words += [f"{key}={name_of(part)!r}" for key, part in parts.items() if part is not None]
    changes = {"n": settings.n, "features": settings.features, **(settings.data_options or {})}
    usual = {"n": Settings.n, "features": None}
    words += [f"{key}={value!r}" for key, value in changes.items() if value is not None and value != usual.get(key)]
    return f"fourfold.judge({', '.join(words)})"
