"""Comparisons that the page starts: each is a folder with its data, its runs and its report, and a process of its own.

The process is ``fourfold compare`` in that folder. It goes on when the page is closed. The same command, which stands
in the folder, goes on with a comparison that was stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

from fourfold.machine.regular import json_object, text_of
from fourfold_web.runs import Library, paradigm_of

__all__ = ["Comparisons", "Race"]

COMMAND, OUTPUT, PROCESS, REPORT = "command.json", "output.txt", "process.json", "report.html"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")
_SIZE = re.compile(r"auto|xs|s|m")
_BUDGET = re.compile(r"[0-9][0-9a-z., ]{0,38}")
_ENDING = re.compile(r"\.[a-z0-9]{1,8}")
LAST = 4000
"""Characters of the output that are shown."""


@final
@dataclass(frozen=True)
class Race:
    """The request of a comparison.

    Attributes:
        data: a built-in set, or the name of the uploaded file, whose ending says its format.
        budget: the budget of each model, such as ``30s`` or ``400 steps``.
        size: the size of each model.
    """

    data: str
    budget: str = "30s"
    size: str = "xs"

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """The request.

        Raises:
            ValueError: naming the value that is wrong.
        """
        race = cls(values.get("data", ""), values.get("budget", "30s").strip().lower(), values.get("size", "xs"))
        for noun, value, pattern in (("budget", race.budget, _BUDGET), ("size", race.size, _SIZE)):
            if not pattern.fullmatch(value):
                raise ValueError(
                    f"{noun} must be as fourfold compare takes it, got {value[:40]!r}; write 30s or 400 steps"
                )
        return race


class Comparisons:
    """The comparisons of a folder, one of which may run at a time.

    Attributes:
        folder: the folder of all.
        library: gets the runs of the comparisons, so that their samples can be drawn.
    """

    def __init__(self, folder: Path, library: Library) -> None:
        self.folder, self.library = folder, library
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, race: Race, content: bytes) -> str:
        """Begin a comparison, and return its name.

        Raises:
            ValueError: for data that is neither built in nor uploaded, or if another comparison runs.
        """
        from fourfold.data import names

        if (other := self._running()) is not None:
            raise ValueError(f"one comparison runs at a time, and {other} does; stop it first")
        if not content and race.data not in names():
            raise ValueError(f"data must be a file or a built-in set, got {race.data[:40]!r}; choose one")
        ending = Path(race.data).suffix.lower()
        if content and not _ENDING.fullmatch(ending):
            raise ValueError(f"the file must have an ending that says its format, got {race.data[:40]!r}; rename it")
        name = self._free(re.sub(r"[^a-z0-9]+", "-", Path(race.data).stem.lower()).strip("-")[:40] or "data")
        folder = self.folder / name
        folder.mkdir(parents=True)
        data = race.data
        if content:
            data = f"data{ending}"
            (folder / data).write_bytes(content)
        words = ["compare", data, f"--budget={race.budget}", f"--size={race.size}"]
        words += ["--runs-dir=runs", "--no-sweep", "--patience=20", f"--out={REPORT}"]
        (folder / COMMAND).write_text(json.dumps(words), encoding="utf-8")
        self.resume(name)
        return name

    def _free(self, stem: str) -> str:
        """A name that no comparison has."""
        tries = (stem if i == 0 else f"{stem}-{i + 1}" for i in range(10_000))
        return next(name for name in tries if not (self.folder / name).exists())

    def resume(self, name: str) -> None:
        """Go on with a comparison.

        Raises:
            ValueError: if one runs.
        """
        if (other := self._running()) is not None:
            raise ValueError(f"one comparison runs at a time, and {other} does; stop it first")
        folder = self._of(name)
        with (folder / OUTPUT).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fourfold", *self._words(folder)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it goes on when the page is closed
            )
        self._processes[name] = process
        (folder / PROCESS).write_text(json.dumps({"pid": process.pid}), encoding="utf-8")

    def stop(self, name: str) -> None:
        """End the process of a comparison, whose runs are saved first."""
        pid = self._pid(self._of(name))
        if pid is not None and self._lives(name, pid):
            os.killpg(pid, signal.SIGTERM)  # what a shell starts in the background ignores SIGINT

    def summaries(self) -> list[dict[str, Any]]:
        """Each comparison in a line, the latest first."""
        folders = [path for path in self.folder.glob("*") if (path / COMMAND).is_file()] if self.folder.is_dir() else []
        folders.sort(key=lambda path: -(path / COMMAND).stat().st_mtime)
        return [self._summary(path.name) for path in folders if _NAME.fullmatch(path.name)]

    def _summary(self, name: str) -> dict[str, Any]:
        folder = self._of(name)
        pid = self._pid(folder)
        words = self._words(folder)
        return {
            "name": name,
            "data": words[1] if len(words) > 1 else "",
            "running": pid is not None and self._lives(name, pid),
            "report": (folder / REPORT).is_file(),
            "command": f"cd {shlex.quote(str(folder))} && fourfold {shlex.join(words)}",
        }

    def state(self, name: str) -> dict[str, Any]:
        """A comparison with its runs: how far each is, its losses, and the last lines of the output."""
        folder, summary = self._of(name), self._summary(name)
        runs = sorted(path.parent for path in folder.glob("runs/*/job.json"))
        with contextlib.suppress(OSError, UnicodeDecodeError):
            summary["output"] = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|[^\n]*\r", "", text_of(folder / OUTPUT))[-LAST:]
        return summary | {"runs": [self._run(name, path) for path in runs]}

    def _run(self, name: str, folder: Path) -> dict[str, Any]:
        """A model of the race."""
        run = f"{name}/{folder.name}"
        self.library.add(run, folder / "run")
        weights = folder / "run" / "weights.safetensors"
        curves = self.library.log(run)["curves"]
        return {
            "name": run,
            "recipe": json_object(folder / "job.json").get("paradigm", ""),
            "paradigm": paradigm_of(json_object(folder / "run" / "card.json")),
            "used": curves["used"][-1][1] if curves.get("used") else 0,
            "step": curves["used"][-1][0] if curves.get("used") else 0,
            "loss": next((points for key, points in curves.items() if key.endswith("loss")), []),
            "held_out": next((points for key, points in curves.items() if key.endswith("held_out")), []),
            "weights": weights.stat().st_mtime if weights.exists() else None,
            "done": (folder / "result.json").is_file(),
            "failed": json_object(folder / "failure.json").get("message"),
        }

    def report(self, name: str) -> Path:
        """The file of a report.

        Raises:
            LookupError: if it is not written yet.
        """
        path = self._of(name) / REPORT
        if not path.is_file():
            raise LookupError(f"the report of {name} is not written yet; wait for the end of the comparison")
        return path

    def _of(self, name: str) -> Path:
        """The folder of a comparison.

        Raises:
            LookupError: for a name that is none.
        """
        if not _NAME.fullmatch(name) or not (self.folder / name / COMMAND).is_file():
            raise LookupError(f"there is no comparison {name[:60]!r}; choose one of the list")
        return self.folder / name

    @staticmethod
    def _words(folder: Path) -> list[str]:
        words = json.loads(text_of(folder / COMMAND))
        return [str(word) for word in words] if isinstance(words, list) else []

    def _running(self) -> str | None:
        """The comparison that runs."""
        return next((row["name"] for row in self.summaries() if row["running"]), None)

    @staticmethod
    def _pid(folder: Path) -> int | None:
        pid = json_object(folder / PROCESS).get("pid")
        return pid if isinstance(pid, int) and pid > 1 else None

    def _lives(self, name: str, pid: int) -> bool:
        """Whether the process of a comparison runs. Another program may have got the number of one that ended."""
        own = self._processes.get(name)
        if own is not None:
            return own.poll() is None
        with contextlib.suppress(OSError):
            return b"compare" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False
