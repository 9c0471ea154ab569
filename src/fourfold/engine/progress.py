"""Progress of training: loss, rate and time left, in 80 columns of a terminal or in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fourfold.engine.step import Step
from fourfold.output.notebook import block, in_notebook
from fourfold.output.printable import printable

__all__ = ["Bar", "NotebookBar", "shower_for"]

LABEL = 25
"""Letters of a label, at most: those of ``autoregressive/likelihood``."""


@final
class _Means:
    """Losses and step time as running means over some twenty steps of one stage."""

    def __init__(self) -> None:
        self.stage = ""
        self._loss: dict[str, float] = {}
        self._seconds = 0.0

    def words(self, step: Step) -> str:
        """The means with this step in them."""
        if step.stage != self.stage:
            self.stage, self._loss, self._seconds = step.stage, {}, 0.0
        for name, value in step.losses.items():
            self._loss[name] = 0.95 * self._loss.get(name, value) + 0.05 * value
        self._seconds = 0.95 * (self._seconds or step.seconds) + 0.05 * step.seconds
        losses = " ".join(f"{value:.4g}" for value in self._loss.values())
        return f"loss {losses}, {1 / max(self._seconds, 1e-9):.3g} steps/s"


@final
class Bar:
    """Shows the steps it is called with, from the first on. Use as a context manager.

    Args:
        console: where to. Standard error by default, so that output can be piped.
        label: the name of the training.
    """

    def __init__(self, label: str, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=console or Console(stderr=True),
            refresh_per_second=4,
        )
        self._task = self._progress.add_task(label[:LABEL], total=1.0, numbers="")
        self._label, self._means = label, _Means()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar. Names from outside cannot steer the terminal."""
        self._progress.console.print(printable(line, keep="\n\t"), highlight=False, markup=False, soft_wrap=True)

    def __call__(self, step: Step) -> None:
        """Show a step."""
        self._progress.start()
        numbers = self._means.words(step)
        self._progress.update(
            self._task, completed=step.used, numbers=numbers, description=(step.stage or self._label)[:LABEL]
        )


@final
class NotebookBar:
    """Shows the steps it is called with, and lines, in the output of a notebook's cell. Use as a context manager.

    Args:
        label: the name of the training.
    """

    EVERY = 0.25
    """Seconds between two updates."""

    def __init__(self, label: str) -> None:
        from IPython.display import display  # is there only in a notebook

        self._label, self._means, self._lines = label, _Means(), list[str]()
        self._value, self._numbers, self._due = "", "", 0.0
        self._output: Any = display(self, display_id=True)

    def __enter__(self) -> NotebookBar:
        return self

    def __exit__(self, *exc: object) -> None:
        self._value = self._value or 'value="1"'
        self._output.update(self)

    def say(self, line: str) -> None:
        """Add a line above the bar."""
        self._lines.append(line)
        self._output.update(self)

    def __call__(self, step: Step) -> None:
        """Show a step."""
        self._numbers, self._value = self._means.words(step), f'value="{step.used:.3f}"'
        if time.monotonic() >= self._due or step.used >= 1:
            self._due = time.monotonic() + self.EVERY
            self._output.update(self)

    def _repr_html_(self) -> str:
        lines = "".join(f"<div>{escape(printable(line))}</div>" for line in self._lines)
        words = escape(f"{self._numbers} {self._means.stage}".strip())
        return block(self._label, lines, f'<div><progress max="1" {self._value}></progress> {words}</div>')


@contextmanager
def shower_for(
    label: str, observe: Callable[[Step], bool | None] | None, say: Callable[[str], None] | None, bar: bool = True
) -> Iterator[tuple[Callable[[Step], bool | None] | None, Callable[[str], None] | None]]:
    """The functions for each step and each message: the given ones, else a bar in a notebook or terminal, else none."""
    if observe is not None or say is not None or not bar or not (in_notebook() or sys.stderr.isatty()):
        yield observe, say
        return
    with NotebookBar(label) if in_notebook() else Bar(label) as shower:
        yield shower, shower.say
