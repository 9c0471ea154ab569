"""Make the figures beside peers again, those of README among them, and say at the end what could not be made.

    python benchmarks/again.py --data FOLDER --envs ENVS [--only NAME,NAME] [--list]

FOLDER holds what no package has, such as ``text/tinyshakespeare.txt``; what packages hold is downloaded into it. Each
peer gets an environment of its own below ENVS. The whole takes hours, and should have the machine for itself.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

BENCHMARKS = Path(__file__).parent
COMMANDS = (
    "peers.py --peers-env {envs} --seeds 3",
    "mixed_tables.py --peers --peers-env {envs} --data-folder {data} --out {out}/mixed-tables.json",
    "regression.py --peers --peers-env {envs} --data-folder {data} --out {out}/regression.json",
    "language.py rates",
    "language.py shakespeare --text {data}/text/tinyshakespeare.txt --seconds 55",
    "language.py tokens",
    "language.py masked",
    "language.py keyboard",
)
"""The scripts that run peers, and what they are given."""


def names(command: str) -> tuple[str, ...]:
    """The script of a command and, where it has parts, the part behind it: ``language`` and ``language.tokens``."""
    script, part = command.replace(".py", "").split()[:2]
    return (script,) if part.startswith("-") else (script, f"{script}.{part}")


def commands(only: Collection[str], data: Path, envs: Path) -> Iterator[list[str]]:
    """The commands of some names with their folders filled in."""
    for command in COMMANDS:
        if not set(names(command)).isdisjoint(only):
            script, *arguments = command.format(data=data, envs=envs, out=BENCHMARKS / "results").split()
            yield [sys.executable, str(BENCHMARKS / script), *arguments]


def main() -> None:
    """Run each, go on after one that fails, and name those."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--envs", type=Path, required=True)
    every = list(dict.fromkeys(name for command in COMMANDS for name in names(command)))
    parser.add_argument("--only", default=",".join(every), help=f"by commas: {', '.join(every)}")
    parser.add_argument("--list", action="store_true", help="print the commands alone")
    options = parser.parse_args()
    missing, only = [], options.only.split(",")
    if unknown := sorted(set(only).difference(every)):
        parser.error(f"NAME must be among {', '.join(every)}, got {unknown[0]!r}")
    for command in commands(only, options.data, options.envs):
        print(" ".join(command[1:]), flush=True)
        if not options.list and subprocess.run(command, check=False).returncode:
            missing.append(" ".join(command[1:]))
    if missing:
        raise SystemExit("not made again, for the reasons above:\n" + "\n".join(missing))


if __name__ == "__main__":
    main()
