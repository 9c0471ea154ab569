"""``place``: one door for every kind of input."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from fourfold_atlas.bounded import NOTEBOOK_BYTES, UnreadableError, read_bytes, read_text
from fourfold_atlas.code import read_code
from fourfold_atlas.decision import decide, stated, states, surely
from fourfold_atlas.evidence import Aspect
from fourfold_atlas.folders import place_folder, prose_of
from fourfold_atlas.hub import FileSet, read_files, read_paths, split_documents
from fourfold_atlas.links import hub_name, is_link
from fourfold_atlas.live import read_live, stated_facts
from fourfold_atlas.names import near, place_name, unknown
from fourfold_atlas.pdf import PDF_BYTES
from fourfold_atlas.placement import Placement
from fourfold_atlas.prose import place_words, title
from fourfold_atlas.readings import place_reading
from fourfold_atlas.runs import place_run
from fourfold_atlas.sources import is_code, read_notebook
from fourfold_atlas.words import read_words

__all__ = ["place", "place_code", "place_files", "place_text", "place_together", "place_words"]

NOTHING = "subject must be a name, a text, a path or a model, got nothing: or give objective= and sampling="
#: a text of no more characters may be a name, and of no more words is taken for one where it says nothing
LONGEST_NAME, NAME_WORDS = 80, 6
#: a text that is written like the name of a file means a file
_FILE = re.compile(r"\S+\.(?:txt|md|rst|json|ya?ml|toml|ini|cfg|py|ipynb|safetensors|ckpt|pth?|bin|onnx|html?|pdf)")


def place(subject: object = None, *, objective: str = "", sampling: str = "", sure: float = 0.0) -> Placement:
    """Place a generative system on the map, with the evidence.

    Args:
        subject: a name, a title or sentence, a path to a file or folder, or a live model.
        objective: the quantities that the training loss compares, in words.
        sampling: the procedure that draws an example, in words.
        sure: answer only from this confidence on, between 0 and 1. Below it the missing fact is named instead. It may
            raise the engine's own threshold (0.4 where wording is weighed), and never lowers it.

    Raises:
        UnreadableError: a path that cannot be read, or no input at all.
        ValueError: ``sure`` lies outside 0 and 1.
    """
    if not 0 <= sure <= 1:
        raise ValueError(f"sure must be a confidence from 0 to 1, got {sure}")
    return surely(_place(subject, objective, sampling), sure)


def _place(subject: object, objective: str, sampling: str) -> Placement:
    if objective or sampling:
        return place_words(
            "; ".join(text for text in (objective, sampling) if text), subject=str(subject or "the described system")
        )
    if isinstance(subject, Path):
        return _place_path(subject)
    if isinstance(subject, str):
        return _place_text(subject)
    if subject is None:
        raise UnreadableError(NOTHING)
    return stated(decide(type(subject).__name__, read_live(subject)), stated_facts(subject))


def place_code(source: str, subject: str = "code", where: str = "code") -> Placement:
    """Place by Python source alone. It is parsed, never run."""
    return decide(subject, read_code(source, where))


def place_files(texts: Mapping[str, str], subject: str = "files") -> Placement:
    """Place by model files alone: relative path to content."""
    files = FileSet.of(texts)
    return decide(subject, read_files(files), files.skipped)


def _place_text(text: str) -> Placement:
    if not text.strip():
        raise UnreadableError(NOTHING)
    line = len(text) < 1000 and "\x00" not in text
    if line and (path := _path(text)) is not None:
        return _place_path(path)
    if line and (text.startswith(("./", "../", "/", "~/")) or (_FILE.fullmatch(text) and not is_link(text))):
        raise UnreadableError(f"{text}: must be a file or folder, got a name of none: correct the path")
    return place_text(text)


def place_text(text: str) -> Placement:
    """Place by a text alone: a name, prose, code or a configuration. No file is read, whatever the text says.

    Raises:
        UnreadableError: for an empty text.
    """
    if not text.strip():
        raise UnreadableError(NOTHING)
    name = len(text) < LONGEST_NAME and "\n" not in text.strip()
    if name and (placement := place_name(text)) is not None:
        return placement
    placed = _place_source(text) or place_words(text if is_link(text) else hub_name(text) or text, title(text))
    short = name and len(text.split()) <= NAME_WORDS
    if short and placed.reason is None and (reading := place_reading(text)) is not None:
        return reading
    if name and is_link(text):
        return _unknown(replace(placed, cell=None), text)
    if placed.cell is None and short:
        return _unknown(placed, text)
    return placed


def _unknown(placed: Placement, name: str) -> Placement:
    """A name that is not known asks which is meant. Words that say something keep the question that they leave open."""
    says = any(row.weight > 0 and row.claim.aspect is not Aspect.WORDING for row in placed.evidence)
    return placed if says and not near(name) else replace(placed, missing=unknown(name))


def _path(text: str) -> Path | None:
    """The file or folder of that name, if there is one. ``~100M parameters`` is not a home folder."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        path = Path(text)
    try:
        return path if path.exists() else None
    except OSError:
        return None


def _place_source(text: str) -> Placement | None:
    """Code or a configuration given as a text. ``None`` where it is neither, or says nothing as such."""
    if text.lstrip().startswith("{"):
        placed = place_files(split_documents(text), title(text))
    elif is_code(text):
        placed = place_code(text, title(text))
    else:
        return None
    return placed if placed.cell is not None else None


def _place_path(path: Path) -> Placement:
    if path.is_dir():
        return place_run(path) or place_folder(path)
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib"):
        raise UnreadableError(f"{path}: must not be a pickle, which can run code: give the folder of its model")
    if suffix in (".safetensors", ".gguf"):
        return _place_weights(path)
    if suffix == ".ipynb":
        return _place_notebook(path)
    text = prose_of(path)
    if suffix == ".py":
        return place_code(text, path.name, path.name)
    if suffix in (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".gin"):
        placed = place_files({path.name: text}, path.name)
        if placed.notes and not placed.evidence:
            raise UnreadableError(placed.notes[0])
        return placed
    return place_words(text, path.name, path.name)


def _place_weights(path: Path) -> Placement:
    files = read_paths([path], path.parent)
    if files.skipped:
        raise UnreadableError(files.skipped[0])
    return decide(path.name, read_files(files))


def _place_notebook(path: Path) -> Placement:
    """The code cells of a notebook, or its text cells where no line of code states a mechanism."""
    content = read_text(path, NOTEBOOK_BYTES)
    prose, code = (read_notebook(content, str(path), kind) for kind in ("markdown", "code"))
    if not (code.code + prose.code).strip():
        raise UnreadableError(f"{path}: must have code cells or text, got none: give another file")
    by_code = decide(path.name, code.placed(read_code(code.code, path.name), path.name))
    if by_code.cell is not None and states(by_code):
        return by_code
    by_text = decide(path.name, prose.placed(read_words(prose.code, path.name), path.name))
    return by_code if by_text.cell is None else by_text


def place_together(paths: Iterable[Path]) -> Placement:
    """Place one system by several files: cards, papers, configurations, code.

    Raises:
        UnreadableError: a file cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="fourfold-") as name:
        names: list[str] = []
        for number, path in enumerate(paths):
            target = Path(name) / (f"{number}-{path.name}" if path.name in names else path.name)
            target.write_bytes(read_bytes(path, PDF_BYTES))
            names.append(target.name)
        return replace(place_folder(Path(name)), subject=", ".join(names))
