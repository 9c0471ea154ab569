"""``place``: one door for every kind of input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from fourfold.atlas.bounded import UnreadableError, files_below, read_text, safetensors_names
from fourfold.atlas.evidence import Evidence, Reader
from fourfold.atlas.placement import Placement, decide, stated, surely

__all__ = ["place", "place_code", "place_files", "place_words"]

MAX_SOURCES = 12
#: words that leave more doubt than this yield to what the catalogue knows of the system that the opening or a link names
UNSURE = 0.75
#: and to what it knows of the system in the title unless they state it with more than this: of 19 held-out cards whose words said
#: otherwise with less (and 0.75 or more) the title was right in 19 and the words in 10; of 5 with more, in 5 and 4
TITLED = 0.95
#: what is written like the name of a file means one
_FILE = re.compile(r"\S+\.(?:txt|md|rst|json|ya?ml|toml|ini|cfg|py|ipynb|safetensors|ckpt|pth?|bin|onnx|html?)")


def place(subject: object = None, *, objective: str = "", sampling: str = "", sure: float = 0.0) -> Placement:
    """Place a generative system on the map, with the evidence.

    Args:
        subject: a name, a title or sentence, a path to a file or folder, or a live model.
        objective: what the training loss compares, in words.
        sampling: how an example is drawn, in words.
        sure: answer only from this confidence on, between 0 and 1; below it the missing fact is named instead. It raises what the
            engine asks for by itself (0.35 to 0.4 where wording is weighed), and never lowers it.

    Raises:
        UnreadableError: a path that cannot be read, or no input at all.
        ValueError: ``sure`` is no share.
    """
    if not 0 <= sure <= 1:
        raise ValueError(f"sure is a confidence between 0 and 1, not {sure}")
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
        raise UnreadableError("nothing to place; give a name, a text, a path or a model, or objective= and sampling=")
    from fourfold.atlas.live import read_live, stated_facts

    return stated(decide(type(subject).__name__, read_live(subject)), stated_facts(subject))


def place_words(text: str, subject: str = "") -> Placement:
    """Place by prose; where it leaves doubt, by the catalogued system that its title or its links name, as prior knowledge."""
    from fourfold.atlas.words import read_words

    return _or_known(decide(subject or _short(text), read_words(text)), [text])


def _or_known(placed: Placement, texts: Iterable[str]) -> Placement:
    """What words say, or what the catalogue knows of the system they are about, where words alone leave doubt; never both mixed."""
    more_than_words = any(row.kind is not Reader.WORDS for row in placed.evidence)
    if placed.cell is not None and (placed.confidence >= TITLED or more_than_words):
        return placed
    from fourfold.atlas.names import place_mention

    doubtful = placed.cell is None or placed.confidence < UNSURE
    named = (place_mention(text, placed, doubtful) for text in texts)
    known = next((known for known in named if known is not None), placed)
    return placed if known.cell is placed.cell else known


def place_code(source: str, subject: str = "code", where: str = "code") -> Placement:
    """Place by Python source alone; it is parsed, never run."""
    from fourfold.atlas.code import read_code

    return decide(subject, read_code(source, where))


def place_files(texts: Mapping[str, str], subject: str = "files") -> Placement:
    """Place by model files alone: relative path to content."""
    from fourfold.atlas.hub import FileSet, read_files

    files = FileSet.of(texts)
    return decide(subject, read_files(files), files.skipped)


def _place_text(text: str) -> Placement:
    if len(text) < 1000 and "\x00" not in text:
        path = Path(text).expanduser()
        try:
            exists = path.exists()
        except OSError:
            exists = False
        if exists:
            return _place_path(path)
        if text.startswith(("./", "../", "/", "~")) or _FILE.fullmatch(text):
            raise UnreadableError(f"{text}: no such file or folder")
        if len(text) < 80:
            from fourfold.atlas.names import place_name

            known = place_name(text)
            if known is not None:
                return known
    return place_words(text)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."


def _place_path(path: Path) -> Placement:
    if path.is_dir():
        return _place_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        from fourfold.atlas.hub import FileSet, read_files

        return decide(path.name, read_files(FileSet({}, {}, {path.name: safetensors_names(path)})))
    if suffix in (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib"):
        raise UnreadableError(f"{path}: a pickle is never opened; give the folder with its configuration, card or code")
    text = read_text(path)
    if suffix == ".py":
        return place_code(text, path.name, path.name)
    if suffix in (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".gin"):
        placed = place_files({path.name: text}, path.name)
        if placed.notes and not placed.evidence:
            raise UnreadableError(placed.notes[0])
        return placed
    return place_words(text, path.name)


def _place_folder(folder: Path) -> Placement:
    """Model files first; where they leave the question open, the card, then the code."""
    from fourfold.atlas.hub import read_files, read_folder
    from fourfold.atlas.runs import place_run

    run = place_run(folder)
    if run is not None:
        return run
    if next(iter(files_below(folder)), None) is None:
        raise UnreadableError(f"{folder}: an empty folder; give one with a model card, configuration files or code")
    files = read_folder(folder)
    rows = read_files(files)
    first = decide(folder.name, rows, files.skipped)
    if first.cell is not None and first.confidence >= 0.6:
        return first
    from fourfold.atlas.words import read_words

    cards = _cards(folder)
    rows += [row for name, text in cards.items() for row in read_words(text, name)] + _sources(folder)
    return _or_known(decide(folder.name, rows, files.skipped), cards.values())


def _cards(folder: Path) -> dict[str, str]:
    """The cards at the top of a folder, by name."""
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("*.md"))[:4] + sorted(folder.glob("*.txt"))[:2]:
        try:
            texts[path.name] = read_text(path)
        except UnreadableError:
            continue
    return texts


def _sources(folder: Path) -> list[Evidence]:
    from fourfold.atlas.code import read_code

    rows: list[Evidence] = []
    sources = [path for path in files_below(folder) if path.suffix == ".py"][:MAX_SOURCES]
    for path in sources:
        try:
            found = read_code(read_text(path, 60_000), path.relative_to(folder).as_posix())
        except UnreadableError:
            continue
        rows += found
    return rows
