"""Run a peer beside fourfold: one script in an environment of its own, and the cost of its training."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Watch:
    """Seconds on the clock, and seconds of processor time of this process and of those it waited for."""

    def __init__(self) -> None:
        self.start, self.used = time.perf_counter(), self._processor()

    @staticmethod
    def _processor() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))

    def stop(self) -> dict[str, float]:
        """Both, in seconds."""
        return {"seconds": time.perf_counter() - self.start, "processor": self._processor() - self.used}


def environment(folder: Path, packages: Sequence[str]) -> Path:
    """The interpreter of a virtual environment, which pip fills with the packages where it is missing."""
    python, whole = folder / "bin" / "python", folder / ".filled"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    wanted = "\n".join(packages)
    if not whole.exists() or whole.read_text(encoding="utf-8") != wanted:
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        whole.write_text(wanted, encoding="utf-8")  # an interrupted installation is taken up again
    return python


def run_peer(
    python: Path, script: str, arguments: Sequence[object], folder: Path, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a peer's script in its environment.

    The script gets the arguments, and writes ``about.json`` into the folder.

    Args:
        python: interpreter of the environment.
        script: name of the script beside this one.
        arguments: its arguments.
        folder: where it writes.
        environ: variables to set for it.

    Returns:
        what it wrote; or ``note``, the last line of its error.
    """
    command = [str(python), str(Path(__file__).with_name(script)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(environ or {})})
    if done.returncode:
        return {"note": (done.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    return about
