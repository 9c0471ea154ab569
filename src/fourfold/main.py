"""The entry point of the command line: it runs a command and turns every error into one line."""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback
from typing import Any

from fourfold.info import text
from fourfold.output.printable import printable

__all__ = ["main", "run"]

MISTAKES = (ValueError, TypeError, LookupError, OSError, ImportError)
"""Errors because of a wrong input: exit code 2."""

FAILURES = (ArithmeticError, RuntimeError, MemoryError, AssertionError)
"""Errors in spite of a right input: exit code 1."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Every error is one line on standard error. ``--debug`` also shows its trace."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    sys.exit(run([word for word in words if word != "--debug"], debug))


def run(arguments: list[str], debug: bool = False) -> int:
    """Run a command and return its exit code. Without a command, show the help.

    Garbage collection is off until the command is imported, since imports make many objects and hardly any garbage.
    """
    gc.disable()
    try:
        return _answer(arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MISTAKES as error:
        return _report(error, 2, debug)
    except FAILURES as error:
        return _report(error, 1, debug)
    except KeyboardInterrupt as error:
        return _report(error, 130, debug)
    except Exception as error:
        if not _is_usage(error) and not _is_of_arrow(error):
            raise
        return _report(error, 2, debug)
    finally:
        gc.enable()


def _answer(arguments: list[str]) -> int:
    """Run a command. ``info`` without options needs no parser of options, but for folders that wings may know."""
    name = arguments[-1] if arguments else ""
    plain = arguments[:1] == ["info"] and len(arguments) <= 2 and not name.startswith("-")
    if plain and (not os.path.isdir(name) or os.path.isfile(os.path.join(name, "card.json"))):
        print(printable(text(*arguments[1:]), keep="\n\t"))
        return 0
    from fourfold.cli.app import app  # the parser of options loads slowly

    return int(app(arguments or ["--help"], prog_name="fourfold", standalone_mode=False) or 0)


def _is_usage(error: Any) -> bool:
    """Whether the parser of options raised the error, whose ``format_message`` gives the message."""
    return hasattr(error, "format_message")


def _is_of_arrow(error: Exception) -> bool:
    """Whether Arrow raised the error: the base of its errors is none of those of Python."""
    arrow = sys.modules.get("pyarrow")
    return arrow is not None and isinstance(error, arrow.ArrowException)


def _report(error: BaseException, code: int, debug: bool) -> int:
    """Print an error as one short line, and its trace if wanted."""
    if debug:
        traceback.print_exception(error)
    line = " ".join(_message(error).split()) or type(error).__name__
    line = line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
    print(printable(f"error: {line}", keep="\n\t"), file=sys.stderr)
    return code


LONGEST = 600
"""The most characters of an error."""


def _message(error: Any) -> str:
    if _is_usage(error):
        return str(error.format_message())
    if isinstance(error, MemoryError):
        return "the memory is full: give a smaller --limit, --size or --batch-size"
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    return of_system(error) if isinstance(error, OSError) else str(error)


WAYS = {
    errno.ENOENT: "is its folder there?",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EEXIST: "choose another name",
    errno.EISDIR: "choose another name",
    errno.ENOTDIR: "choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EROFS: "write elsewhere",
}
"""The way out of an error of the system."""


def of_system(error: OSError) -> str:
    """An error of the system as one line: the file, the reason and the way out."""
    if error.errno is None or not error.strerror:
        return str(error)
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    reason = error.strerror[0].lower() + error.strerror[1:]
    return f"{where}{reason}: {WAYS.get(error.errno, 'try again elsewhere')}"


if __name__ == "__main__":
    main()
