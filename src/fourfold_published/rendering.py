"""Chat templates are programs of whoever published a model: they run in a sandbox, in a process with limits.

jinja2's sandbox keeps a template from the files and functions of Python, but not from loops and powers without end.
This file is also the program of that process, so it needs nothing else of this library.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

__all__ = ["render"]

SECONDS = 10
"""Seconds that a template may take."""
MEMORY = 1 << 30
"""Bytes of memory that a template may take."""
LONGEST = 1 << 22
"""The most characters that a template may write."""


def render(template: str, values: Mapping[str, Any]) -> str:
    """The text of a template with some JSON values.

    Raises:
        ValueError: if it takes too long or too much, is no template, or refuses the values.
    """
    words = json.dumps([template, dict(values)])
    command = [sys.executable, "-P", __file__]
    try:
        process = subprocess.run(command, input=words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(f"the model's chat template has not ended after {SECONDS} s: use a model without it") from None
    if process.returncode == 0:
        return str(json.loads(process.stdout))
    reason = " ".join(process.stderr.split())[-200:] or f"exit code {process.returncode}"
    raise ValueError(f"the model's chat template fails ({reason}): begin anew with /reset, or use a model without it")


def _run() -> None:
    """Read a template and its values from standard input, and write what it makes of them."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    with contextlib.suppress(ImportError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    template, values = json.loads(sys.stdin.read())
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: ""
    parts, size = list[str](), 0
    for part in environment.from_string(template).generate(**values):
        parts.append(part)
        size += len(part)
        if size > LONGEST:
            sys.exit(f"it writes more than {LONGEST:,} characters")
    print(json.dumps("".join(parts)))


def _refuse(message: object) -> NoReturn:
    raise ValueError(f"it refuses this dialogue: {message}")


if __name__ == "__main__":
    try:
        _run()
    except MemoryError:
        sys.exit("it takes too much memory")
    except Exception as error:
        sys.exit(str(error) or type(error).__name__)
