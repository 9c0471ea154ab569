"""What a training leaves in its run folder: log, checkpoints and card."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from fourfold.core import GenerativeModel
from fourfold.engine.checkpoint import save_model, save_state, write_json
from fourfold.engine.loop import Loop, Step
from fourfold.engine.monitors import Gap

__all__ = ["Recorder"]


@final
@dataclass
class Recorder:
    """Writes log, checkpoints and card of a run into its folder, if it has one."""

    folder: Path | None
    card: dict[str, Any]
    gap: Gap
    every: float
    observe: Callable[[Step], None] | None = None
    stage: str = ""
    log_every: float = 1.0
    _saved: float = field(default_factory=time.monotonic)
    _logged: float = 0.0
    _sums: dict[str, list[float]] = field(default_factory=dict)
    _last: Step | None = None

    def start(self, model: GenerativeModel, step: int) -> None:
        """Write what describes the run, and drop what an earlier attempt logged after the step it resumes from."""
        if self.folder is None:
            return
        write_json(self.folder / "model.json", model.configuration())
        write_json(self.folder / "card.json", self.card)
        log = self.folder / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() and step else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def record(self, loop: Loop, step: Step) -> None:
        """Observe a step; log and save where it is time to."""
        if self.observe is not None:
            self.observe(step)
        for name, value in step.losses.items() if self.folder else ():
            self._sums.setdefault(f"{name}/loss", []).append(value)
        gap, now, self._last = self.gap(step.used), time.monotonic(), step
        if gap or step.index <= 3 or now - self._logged >= self.log_every:
            self._logged = now
            self._log(loop, step, gap)
        if now - self._saved >= self.every:
            self.save(loop)

    def _log(self, loop: Loop, step: Step, gap: Mapping[str, float]) -> None:
        """One line: mean losses since the last one, and the latest of everything else."""
        if self.folder is None:
            return
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums = {}
        spent = {"seconds": round(loop.progress.seconds, 4), "step_seconds": round(step.seconds, 6)}
        norms = {f"{name}/norm": value for name, value in step.norms.items()}
        name = {"stage": self.stage} if self.stage else {}
        line = {"step": step.index, "used": round(step.used, 6), **name, "rate": step.rate, **spent, **means, **norms}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(line | loop.watched() | dict(gap))) + "\n")

    def save(self, loop: Loop, done: bool = False) -> None:
        """Write averaged weights, state and card, and log the latest step if that is not done."""
        if self._last is not None and self._sums:
            self._log(loop, self._last, {})
        self.card |= _spent(self.card, loop) | {"done": done}
        if self.folder is not None:
            with loop.weights.shown(loop.weights.average):
                save_model(loop.model, self.folder)
            save_state(self.folder, loop.state(), loop.progress)
            write_json(self.folder / "card.json", self.card)
        self._saved = time.monotonic()


def _spent(card: Mapping[str, Any], loop: Loop) -> dict[str, Any]:
    """Steps and seconds of all stages together, and, where there are several, of the last in its own record."""
    steps, seconds = loop.progress.steps, loop.progress.seconds
    stages = [dict(stage) for stage in card.get("stages", [])]
    if not stages:
        return {"steps": steps, "seconds": round(seconds, 3)}
    stages[-1] |= {"steps": steps, "seconds": round(seconds, 3)}
    whole = {key: sum(stage[key] for stage in stages) for key in ("steps", "seconds")}
    return {"steps": whole["steps"], "seconds": round(whole["seconds"], 3), "stages": stages}


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with ``None`` in place of numbers that JSON does not know."""
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}
