"""The runs of the page: what each is, what can be asked of it, and the log of its training."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourfold.machine.regular import json_object, open_regular

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel, Space
    from fourfold.data import Dataset
    from fourfold.engine import Run

__all__ = ["Library", "finite", "paradigm_of", "takes_numbers"]

LOADED = 3
"""Models in memory."""
LOG_BYTES, POINTS = 8 << 20, 400
"""The most bytes of a log that are read, and the most points of a curve."""
CATEGORIES, FIELDS = 200, 60
"""The most names of a choice, and the most fields of a form."""


class Library:
    """The runs that the page may open, by name.

    Attributes:
        folders: the folder of each.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = dict(folders)
        self._runs: OrderedDict[tuple[str, float], Run] = OrderedDict()
        self._data: dict[str, Dataset | None] = {}

    def add(self, name: str, folder: Path) -> None:
        """Let the page open another run."""
        self.folders[name] = folder

    def folder(self, name: str) -> Path:
        """The folder of a run.

        Raises:
            LookupError: for a name that is none.
        """
        if name not in self.folders:
            raise LookupError(f"there is no run {name[:80]!r} on this page; choose one of the list")
        return self.folders[name]

    def summaries(self) -> list[dict[str, Any]]:
        """Each run in a line. Torch-free."""
        return [self._summary(name, folder) for name, folder in [*self.folders.items()]]

    def _summary(self, name: str, folder: Path) -> dict[str, Any]:
        card = json_object(folder / "card.json")
        data = card.get("data", {})
        return {
            "name": name,
            "paradigm": paradigm_of(card),
            "recipe": card.get("recipe", ""),
            "data": Path(str(data.get("name", ""))).name,
            "steps": card.get("steps"),
            "parameters": card.get("parameters"),
            "trained": (folder / "weights.safetensors").exists() or not (folder / "model.json").exists(),
        }

    def run(self, name: str) -> Run:
        """A run with its model in memory.

        Raises:
            LookupError: for a name that is none.
            BrokenRun: for a folder that holds no whole model.
        """
        from fourfold.engine import Run

        folder = self.folder(name)
        weights = folder / "weights.safetensors"
        key = name, weights.stat().st_mtime if weights.exists() else 0.0  # a run in training gets new ones
        if key not in self._runs:
            self._runs[key] = Run.load(folder)
        self._runs.move_to_end(key)
        while len(self._runs) > LOADED:
            self._data.pop(self._runs.popitem(last=False)[0][0], None)
        return self._runs[key]

    def data(self, name: str) -> Dataset | None:
        """The data that a run was trained on. ``None`` where it is not at hand."""
        run = self.run(name)
        if name not in self._data:
            try:
                self._data[name] = run.dataset()
            except (
                ValueError,
                TypeError,
                LookupError,
                OSError,
                ImportError,
            ):  # TypeError: settings of an older version
                self._data[name] = None
        return self._data[name]

    def about(self, name: str) -> dict[str, Any]:
        """The facts of a run, and the tasks that it can do."""
        from fourfold.estimands import AnyOrderConditionals, Conditionals, TokenDenoiser
        from fourfold.runs.services import services

        run = self.run(name)
        model, card = run.model, run.card
        facts = model.facts
        return self._summary(name, self.folder(name)) | {
            "paradigm": str(model.paradigm),
            "space": str(model.space),
            "shape": list(model.space.shape),
            "unit": model.space.unit,
            "items": model.space.item_name,
            "seconds": card.get("seconds"),
            "objective": facts.objective,
            "objective_formula": facts.objective_formula,
            "sampling": facts.sampling,
            "sampling_formula": facts.sampling_formula,
            "likelihood": facts.likelihood.words,
            "likelihood_note": facts.likelihood_note,
            "cost": facts.cost_note,
            "failures": [{"name": mode.name, "meaning": mode.meaning} for mode in facts.failure_modes],
            "sampler": type(model.sampler).__name__,
            "samplers": _samplers(model),
            "steps_of_sampler": getattr(model.sampler, "steps", None),
            "guided": _guided(model),
            "given": _given(model.space),
            "columns": _columns(model.space),
            "fills": model.space.mixed,
            "plane": tuple(model.space.shape) == (2,),
            "codes": not isinstance(model.estimand, Conditionals | AnyOrderConditionals | TokenDenoiser),
            "writes": _streams_text(model),
            "pixels": len(model.space.shape) == 3,
            "services": [
                {"name": key, "title": service.title, "reads": service.reads, "note": service.note(run)}
                for key, service in services().items()
                if service.fits(run)
            ],
            "log": (self.folder(name) / "log.jsonl").exists(),
        }

    def log(self, name: str) -> dict[str, Any]:
        """The curves of a training: for each key of its log the steps and the values, thinned out."""
        folder = self.folder(name)
        rows = list(_lines(folder / "log.jsonl"))
        keys = {key for row in rows for key, value in row.items() if _is_number(value)} - {"step"}
        curves = {}
        for key in sorted(keys):
            points = [
                (row["step"], row[key]) for row in rows if _is_number(row.get(key)) and _is_number(row.get("step"))
            ]
            step = max(1, math.ceil(len(points) / POINTS))
            curves[key] = [*points[:-1:step], *points[-1:]]
        last = rows[-1] if rows else {}
        return {"curves": curves, "step": last.get("step"), "trained": (folder / "weights.safetensors").exists()}


def paradigm_of(card: Mapping[str, Any]) -> str:
    """The paradigm that follows from the parts of a run, or else the name that it was asked for."""
    facts = card.get("facts")
    paradigm = facts.get("paradigm") if isinstance(facts, dict) else None
    return str(paradigm or card.get("paradigm", ""))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a log, without lines that are damaged. Of a long log its end."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_BYTES))
            lines = file.read(LOG_BYTES).splitlines()
    except OSError:
        return
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _samplers(model: GenerativeModel) -> list[str]:
    """The samplers that run on a model: its own first, and its other ways to show samples."""
    from fourfold.samplers import fitting

    return list(dict.fromkeys([type(model.sampler).__name__, *model.variants(), *fitting(model.estimand)]))


def _guided(model: GenerativeModel) -> bool:
    """Whether classifier-free guidance runs on a model."""
    from fourfold.tasks.drawing import adjusted

    try:
        adjusted(model, guidance=1.5)
    except (ValueError, TypeError):
        return False
    return True


def _given(space: Space) -> dict[str, Any] | None:
    """The form of a condition: a choice among names, fields of columns, numbers, a text, or a file."""
    from fourfold.data.writers import usual_suffix

    given = space.given
    if given is None:
        return None
    suffix = usual_suffix(given)
    if given.names:
        return {"kind": "choice", "names": list(given.names)[:CATEGORIES]}
    if given.columns:
        return {"kind": "columns", "columns": _columns(given), "suffix": suffix}
    if takes_numbers(given):
        return {"kind": "numbers", "count": given.shape[0], "suffix": suffix}
    return {"kind": "text" if suffix == ".txt" else "file", "about": str(given), "suffix": suffix}


def takes_numbers(given: Space) -> bool:
    """Whether a condition is a few numbers without names, which a person may write."""
    from fourfold.data.writers import usual_suffix

    return len(given.shape) == 1 and given.shape[0] <= FIELDS and not given.columns and usual_suffix(given) == ".csv"


def _columns(space: Space) -> list[dict[str, Any]]:
    """The columns of a table, each with its categories where it has some."""
    modelled = getattr(space, "modelled", ())
    categories = [list(map(str, getattr(column, "categories", ())))[:CATEGORIES] for column in modelled]
    if len(categories) != len(space.columns):
        categories = [[] for _ in space.columns]
    return [{"name": name, "categories": rows} for name, rows in zip(space.columns, categories, strict=True)]


def _streams_text(model: GenerativeModel) -> bool:
    """Whether a model draws text token by token."""
    from fourfold.tasks.language import text_parts

    try:
        text_parts(model)
    except TypeError:
        return False
    return True


def finite(value: Any) -> Any:
    """A JSON value with ``None`` for numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
