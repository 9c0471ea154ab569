"""A progress bar for training: loss, rate and time left, in 80 columns."""

from __future__ import annotations

from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fourfold.engine.loop import Step
from fourfold.printable import printable

__all__ = ["Bar"]


@final
class Bar:
    """Shows the steps it is called with, from the first on; use as a context manager.

    Args:
        console: where to; standard error by default, so that output can be piped.
        label: the name of what is trained.
    """

    def __init__(self, label: str, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=console or Console(stderr=True),
            refresh_per_second=4,
        )
        self._task = self._progress.add_task(label[:16], total=1.0, numbers="")
        self._label, self._stage = label, ""
        self._loss: dict[str, float] = {}
        self._seconds = 0.0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar; names from outside cannot steer the terminal."""
        self._progress.console.print(printable(line, keep="\n\t"), highlight=False, markup=False, soft_wrap=True)

    def __call__(self, step: Step) -> None:
        """Show a step: losses and step time are running means over some twenty steps of one stage."""
        self._progress.start()
        if step.stage != self._stage:
            self._stage, self._loss, self._seconds = step.stage, {}, 0.0
            self._progress.update(self._task, description=(step.stage or self._label)[:16])
        for name, value in step.losses.items():
            self._loss[name] = 0.95 * self._loss.get(name, value) + 0.05 * value
        self._seconds = 0.95 * (self._seconds or step.seconds) + 0.05 * step.seconds
        losses = " ".join(f"{value:.4g}" for value in self._loss.values())
        numbers = f"loss {losses}, {1 / max(self._seconds, 1e-9):.3g} steps/s"
        self._progress.update(self._task, completed=step.used, numbers=numbers)
