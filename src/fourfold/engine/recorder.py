"""Writes the run folder of a training: log, checkpoints and card."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from fourfold.engine.heldout import HeldOut
from fourfold.engine.loop import Loop
from fourfold.engine.step import Step
from fourfold.parallel.processes import Processes
from fourfold.runs.checkpoint import save_checkpoint, save_model
from fourfold.runs.files import amend_line, append_line, write_json, write_lines

__all__ = ["Recorder"]

LONGEST = 1 << 20
"""The most bytes in a line of the log. A longer line is damaged."""


@final
@dataclass
class Recorder:
    """Writes log, checkpoints and card of a run into its folder, if it has one.

    Attributes:
        folder: the run folder.
        processes: the processes that train. The first writes all but shards.
    """

    folder: Path | None
    processes: Processes
    card: dict[str, Any]
    choice: HeldOut
    every: float
    observe: Callable[[Step], bool | None] | None = None
    stage: str = ""
    log_every: float = 1.0
    _saved: float = field(default_factory=time.monotonic)
    _logged: float = 0.0
    _sums: dict[str, list[float]] = field(default_factory=dict)
    _last: Step | None = None
    _line: dict[str, Any] = field(default_factory=dict)

    def start(self, loop: Loop, resumed: bool) -> int:
        """Write the description of the run and, if the run begins, its first checkpoint.

        Lines of the log are dropped if they are damaged, or belong to later steps than the run continues from.

        Returns:
            The number of damaged lines.
        """
        self.card |= _totals(self.card, loop) | loop.rule.record(loop)
        if self.folder is None:
            return 0
        damaged = 0
        if self.writes:
            damaged = self._clear_log(loop.progress.steps if resumed else 0)
            write_json(self.folder / "model.json", loop.model.configuration())
            write_json(self.folder / "card.json", self.card)
        if not resumed:
            save_checkpoint(loop.live(), loop.numbers(), loop.progress, self.folder, self.processes)
        return damaged

    @property
    def writes(self) -> bool:
        """True if this process writes log, card and model."""
        return self.folder is not None and self.processes.rank == 0

    def _clear_log(self, step: int) -> int:
        """Keep the lines of the log up to a step, with one line in memory at a time. Return how many were damaged."""
        assert self.folder is not None
        log, damaged = self.folder / "log.jsonl", 0

        def lines() -> Iterator[bytes]:
            nonlocal damaged
            for line in _lines(log):
                at = _step_of(line)
                damaged += at is None
                if at is not None and at <= step:
                    yield line.strip() + b"\n"

        write_lines(log, lines() if step and log.exists() else ())
        return damaged

    def record(self, loop: Loop, step: Step) -> bool:
        """Observe a step. Log and save if that is due. All of it counts as training. True if the observer pauses it."""
        start = time.monotonic()
        pauses = self.observe is not None and self.observe(step) is True
        for name, value in step.losses.items() if self.writes else ():
            self._sums.setdefault(f"{name}/loss", []).append(value)
        held_out, now, self._last = self.choice(), time.monotonic(), step
        if held_out or step.index <= 3 or now - self._logged >= self.log_every:
            self._logged = now
            self._log(loop, step, held_out)
        if self.processes.agreed(now - self._saved >= self.every):
            self.save(loop)
        loop.spend(time.monotonic() - start)
        return pauses

    def _log(self, loop: Loop, step: Step, held_out: Mapping[str, float]) -> None:
        """Write a line: the mean losses since the last line, and the latest values of everything else."""
        if self.folder is None or not self.writes:
            return
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums = {}
        times = {"seconds": round(loop.progress.seconds, 4), "step_seconds": round(step.seconds, 6)}
        norms = {f"{name}/norm": value for name, value in step.norms.items()}
        name: dict[str, Any] = {"stage": self.stage} if self.stage else {}
        name |= {"training": loop.progress.trainings} if loop.progress.trainings > 1 else {}
        line = {"step": step.index, "used": round(step.used, 6), **name, "rate": step.rate, **times, **means, **norms}
        line, log, last = _finite(line | loop.watched() | dict(held_out)), self.folder / "log.jsonl", self._line
        if last.get("step") == step.index:
            line = last | line
            amend_line(log, json.dumps(last), json.dumps(line))
        else:
            append_line(log, json.dumps(line))
        self._line = line

    def finish(self, loop: Loop) -> None:
        """End the training: measure the last weights, log the choice, save, and give the model the kept weights."""
        held_out = self.choice(last=True)
        if self._last is not None:
            record = self.choice.record()
            choice = {"choice/kept_step": float(record["kept_step"]), "choice/stopped": float(record["stopped"])}
            self._log(loop, self._last, held_out | choice)
        self.save(loop, finishes=True)
        loop.finish()
        self.choice.show()

    def save(self, loop: Loop, finishes: bool = False, together: bool = True) -> None:
        """Log the latest step if that is due, then write the state, the weights to keep and the card, in this order.

        Args:
            loop: the training.
            finishes: whether it is over.
            together: whether all processes call this. Otherwise shards are not saved.
        """
        if not (together or self.processes.saves_alone):
            return
        if self._last is not None and self._sums:
            self._log(loop, self._last, {})
        self.card |= _totals(self.card, loop) | {"choice": _finite(self.choice.record()), "done": finishes}
        self.card |= loop.rule.record(loop)
        live, numbers = loop.live() | self.choice.live(), loop.numbers() | self.choice.numbers()
        if self.folder is not None:
            save_checkpoint(live, numbers, loop.progress, self.folder, self.processes)
            with self.choice.kept_weights():
                save_model(loop.model, self.folder, self.writes)
            if self.writes:
                write_json(self.folder / "card.json", self.card)
        self._saved = time.monotonic()


def _totals(card: Mapping[str, Any], loop: Loop) -> dict[str, Any]:
    """The steps and seconds of all stages together. If there are several, the record of the last stage has its own."""
    steps, seconds = loop.progress.steps, loop.progress.seconds
    stages = [dict(stage) for stage in card.get("stages", [])]
    if not stages:
        return {"steps": steps, "seconds": round(seconds, 3)}
    stages[-1] |= {"steps": steps, "seconds": round(seconds, 3)}
    whole = {key: sum(stage[key] for stage in stages) for key in ("steps", "seconds")}
    return {"steps": whole["steps"], "seconds": round(whole["seconds"], 3), "stages": stages}


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with ``None`` instead of numbers that JSON cannot express."""
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file. A line that is too long is cut."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST):
            yield line
            while len(line) == LONGEST and not line.endswith(b"\n"):
                line = file.readline(LONGEST)


def _step_of(line: bytes) -> int | None:
    """The step of a line of the log. ``None`` if the line is damaged."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return step if isinstance(step, int) else None
