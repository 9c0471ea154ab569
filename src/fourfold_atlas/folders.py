"""The reader of folders: the files that a person would open first speak first."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fourfold_atlas.bounded import NOTEBOOK_BYTES, UnreadableError, files_below, read_bytes, read_text
from fourfold_atlas.calls import reached
from fourfold_atlas.code import read_code, read_definitions
from fourfold_atlas.collection import MAX_MEMBERS, collection_of, says_several
from fourfold_atlas.decision import decide, left_open, surely, with_parts
from fourfold_atlas.evidence import Aspect, Cell, Claim, Evidence, Form
from fourfold_atlas.flow import compared
from fourfold_atlas.hub import is_model_file, read_files, read_paths
from fourfold_atlas.losses import entering
from fourfold_atlas.pdf import PDF_BYTES, opening, text_of_pdf
from fourfold_atlas.placement import Placement
from fourfold_atlas.prose import place_words
from fourfold_atlas.rules import finder
from fourfold_atlas.sources import Notebook, defining, modern, named_parts, parsed, read_notebook
from fourfold_atlas.votes import by_claim, weigh

__all__ = ["place_folder", "prose_of"]

#: model files answer from this confidence on
MODEL_FILES_ANSWER = 0.6
#: code beside a card that leaves the question open answers where it is more likely right than wrong
CODE_ANSWERS = 0.5
#: a setting that no other supports counts so much
LONE = 0.5
#: sources that are parsed, those that are read, and how much of them all
MAX_PARSED, MAX_READ, MAX_SOURCE = 300, 8, 4_000_000
MAX_CARDS = 3
_SHEBANG = re.compile(rb"#![^\n]*python")
#: parts that were copied with their own training: it says nothing of the system's
_HELPER = re.compile(
    r"/(?:clap|clip|hifi_?gan|vocoders?|(?:vq_?)?vae|autoencoders?(?:_kl)?|taming|lpips|bert|t5|encodec|vq_?gan)(?:/|\.py)",
    re.I,
)
#: losses and loops say a cell outright from so many votes on, and decide alone from so many on, so many times those of
#: any other cell, with so much for the answer
OUTRIGHT, MUCH, CLEARLY, LITTLE = 3.0, 10.0, 1.5, 0.5
#: a loss of codes and a reconstruction, the claims of a model of codes, and the weight of a critic that judges a codec
_CODES, CRITIC = "code/rebuild.commit-loss", 0.2
_REBUILDS = re.compile(r"(?i)\brec(?:on\w*)?_?loss|perceptual|lpips|decoded")
_OF_CODES = (Claim.NEXT_PIECE, Claim.ONE_BY_ONE, Claim.MASKED_BOUND, Claim.FILL_MASKS, Claim.DENOISE, Claim.ITERATE)
#: the weight of a statement by the calls between the training step and it
BY_DEPTH = (1.5, 1.2, 0.8, 0.6)
_BESIDE = finder("folders", "beside")
_OTHER_PROSE = finder("folders", "other_prose")
_CARD = re.compile(r"^(read_?me|model[-_ ]?card)\b", re.I)
_PROSE = (".md", ".markdown", ".rst", ".txt", "")


def place_folder(folder: Path) -> Placement:
    """Place by model files, then title and card, then code of a loss or a sampling loop, then other settings.

    Each is asked only where those before it leave the question open. Their evidence is never mixed.

    Raises:
        UnreadableError: the folder holds no file.
    """
    folder = _unwrapped(folder)
    files = list(files_below(folder))
    if not files:
        raise UnreadableError(f"{folder}: must hold a model card, configuration files or code, got an empty folder")
    open_: list[Placement] = []
    for read in (_by_model_files, _as_collection, _by_card, _by_code, _by_settings):
        for placed in read(folder, files):
            if read is _as_collection:
                return placed
            if placed.cell is not None:
                return with_parts(_reasoned(placed, folder, files), _by_names(folder, files))
            open_.append(placed)
    first = next((placed for placed in open_ if placed.evidence), open_[-1])
    notes = tuple(dict.fromkeys(note for placed in open_ for note in placed.notes))
    return replace(first, notes=notes)


def _reasoned(placed: Placement, folder: Path, files: list[Path]) -> Placement:
    """The placement, with the reason that its code states where its card states none."""
    if placed.reason is not None or placed.cell is Cell.NOT_GENERATIVE:
        return placed
    code = next(_by_code(folder, files), None)
    if code is None or code.cell is None or code.reason is None:
        return placed
    if code.cell is placed.cell:
        return replace(placed, evidence=(code.reason, *placed.evidence))
    return replace(placed, notes=(*placed.notes, f"its code leans to {code.cell}: {code.reason.quote}"))


def _unwrapped(folder: Path) -> Path:
    """The folder below, where an archive was unpacked into a folder of its own."""
    for _ in range(2):
        entries = [path for path in _listed(folder) if not path.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir() or entries[0].is_symlink():
            break
        folder = entries[0]
    return folder


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _by_model_files(folder: Path, files: list[Path]) -> Iterator[Placement]:
    """Files that model libraries write: at the top of the folder, then one level below, for its components."""
    near = [path for path in files if len(path.relative_to(folder).parts) <= 2 and not _beside(path, folder)]
    if not any(path.parent == folder and is_model_file(path) for path in near):
        return
    files_read = read_paths([path for path in near if is_model_file(path)], folder)
    yield surely(decide(folder.name, read_files(files_read), files_read.skipped), MODEL_FILES_ANSWER)


def _as_collection(folder: Path, files: list[Path]) -> Iterator[Placement]:
    """Where the card speaks of several systems, the answer to each source by itself."""
    cards = sorted((path for path in files if path.parent == folder and _CARD.match(path.name)), key=_rank)
    if cards and says_several(_text_of(cards[0])):
        sources = [path for path in files if _is_source(path) and not _beside(path, folder)]
        placed = {path: next(_by_code(folder, [path]), None) for path in sources[:MAX_MEMBERS]}
        members = {path.relative_to(folder).as_posix(): row for path, row in placed.items() if row is not None}
        if whole := collection_of(folder.name, members):
            yield whole


def _beside(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    return any(_BESIDE.match(part) for part in (*parts[:-1], PurePosixPath(parts[-1]).stem))


def _text_of(path: Path) -> str:
    try:
        return read_text(path)
    except UnreadableError:
        return ""


def _by_card(folder: Path, files: list[Path]) -> Iterator[Placement]:
    """The title and the words of the README, then of a model card. Other prose is read where there is neither."""
    prose = [path for path in files if path.parent == folder and path.suffix.lower() in _PROSE]
    cards = sorted((path for path in prose if _CARD.match(path.name)), key=_rank)
    texts = [path for path in prose if path.suffix.lower() in (".md", ".rst") and not _OTHER_PROSE.search(path.stem)]
    papers = [path for path in files if path.parent == folder and path.suffix.lower() == ".pdf"]
    for path in (cards or texts or papers)[:MAX_CARDS]:
        try:
            yield place_words(prose_of(path), folder.name, path.name)
        except UnreadableError:
            continue


def prose_of(path: Path) -> str:
    """The text of a card, or the opening of a paper.

    Raises:
        UnreadableError: it cannot be read.
    """
    if path.suffix.lower() != ".pdf":
        return read_text(path)
    return opening(text_of_pdf(read_bytes(path, PDF_BYTES), str(path)))


def _rank(path: Path) -> tuple[bool, int, str]:
    """A README before a model card, in Markdown before other forms, and before its translations."""
    name = path.name.lower()
    return not name.startswith("read"), _PROSE.index(path.suffix.lower()) + 9 * (name.count(".") > 1), name


def _by_code(folder: Path, files: list[Path]) -> Iterator[Placement]:
    """The definitions of losses and sampling loops, those first that the training step reaches.

    Where all code is in notebooks, each is read whole after that.
    """
    code = _read_sources(folder, files)
    trees = {name: tree for name, notebook in code.items() if (tree := parsed(notebook.code))}
    helpers = {name for name in trees if _HELPER.search(f"/{name}")}
    trained = reached({name: tree for name, tree in trees.items() if name not in helpers})
    aside = {name for name in helpers if trained and reached({name: trees[name]})}
    results = entering(trees[name] for name in trees if name not in aside)
    sources = []
    for name, notebook in code.items():
        strength, definitions = defining(notebook.code, trained.get(name, {}), results)
        if strength and name not in aside:
            sources.append((name in trained, strength, name, replace(notebook, code=definitions)))
    sources.sort(key=lambda row: (-row[0], -row[1], row[2].count("/")))
    notebooks = {name: notebook for _, _, name, notebook in sources[:MAX_READ]}
    if notebooks:
        rows = _stated(notebooks, trees, trained, results)
        if codecs := _codecs(rows, notebooks, bool(trained)):
            rest = {name: notebook for name, notebook in notebooks.items() if name not in codecs}
            later = _stated(rest, trees, trained, results) if rest else []
            if any(row.form in (Form.REASON, Form.LOOP) and row.claim in _OF_CODES for row in later):
                notebooks, rows = rest, later
            else:
                rows = [replace(row, weight=CRITIC * row.weight) if row.claim is Claim.GAME else row for row in rows]
        for name, notebook in notebooks.items():
            rows = notebook.placed(rows, name)
        yield _by_reasons(decide(folder.name, rows))
    if all(PurePosixPath(name).suffix == ".ipynb" for name in code):
        yield from _by_notebooks(folder.name, code)


def _stated(
    notebooks: Mapping[str, Notebook],
    trees: Mapping[str, ast.Module],
    trained: Mapping[str, Mapping[int, int]],
    results: Collection[str],
) -> list[Evidence]:
    """Evidence in definitions, and in what their losses compare, weighed by the way to the training step."""
    rows = read_definitions({name: notebook.code for name, notebook in notebooks.items()}, results)
    reasons = {(row.where, row.claim) for row in rows if row.form is Form.REASON}
    finds = compared(trees, notebooks)
    by_value = {row.where for row in finds if row.claim.cell is not Cell.NOT_GENERATIVE}
    rows = [row for row in rows if not (row.where in by_value and row.claim.cell is Cell.NOT_GENERATIVE)]
    rows += [row for row in finds if (row.where, row.claim) not in reasons]
    depths = [_depth(row, trained) for row in rows]
    return [row if depth is None else _weighed(row, depth) for row, depth in zip(rows, depths, strict=True)]


def _codecs(rows: Collection[Evidence], notebooks: Mapping[str, Notebook], trains: bool) -> set[str]:
    """The files that train a codec: a loss of its codes beside a reconstruction and a critic.

    Where nothing is trained, every loss of codes is of a codec that was trained before.
    """
    of_codes = {_file(row) for row in rows if row.rule == _CODES and row.form is Form.REASON}
    judged = {_file(row) for row in rows if row.claim is Claim.GAME and row.form is Form.REASON}
    return {name for name in of_codes & judged if _REBUILDS.search(notebooks[name].code)} if trains else of_codes


def _file(row: Evidence) -> str:
    return row.where.rpartition(":")[0]


def _by_notebooks(subject: str, notebooks: Mapping[str, Notebook]) -> Iterator[Placement]:
    """The whole code of notebooks: their statements stand in order, few of them in definitions."""
    for name, notebook in list(notebooks.items())[:MAX_CARDS]:
        yield surely(decide(subject, notebook.placed(read_code(notebook.code, name), name)), CODE_ANSWERS)


def _by_reasons(placed: Placement) -> Placement:
    """The placement where its losses and loops say most of its cell, else that by them alone, or none.

    Where they say it outright, no confidence is asked for. They decide alone where they say much of another cell, and
    little of any third or of the answer.
    """
    rows = [row for row in placed.evidence if row.form in (Form.REASON, Form.LOOP) or row.claim.cell is None]
    said = weigh(by_claim(rows))
    rival = max((cell for cell in said if cell.paradigm), key=lambda cell: said[cell])
    others = max(said[cell] for cell in said if cell is not rival)
    outright = placed.cell is rival and said[rival] >= max(OUTRIGHT, CLEARLY * others)
    placed = placed if outright else surely(placed, CODE_ANSWERS)
    if placed.cell is None or 0 < said[placed.cell] >= said[rival]:
        return placed
    if said[rival] >= max(MUCH, CLEARLY * others, said[placed.cell] / LITTLE):
        return decide(placed.subject, rows)
    losses = f"its losses and loops to {rival}" if said[rival] else "but no loss and no sampling loop says so"
    return left_open(placed, f"what its training loss compares: its code is near to {placed.cell}, {losses}")


def _depth(row: Evidence, trained: Mapping[str, Mapping[int, int]]) -> int | None:
    """The calls between the training step and the line of a statement, if the step reaches it."""
    name, _, line = row.where.rpartition(":")
    reaches = line.isdecimal() and row.claim.aspect is not Aspect.WORDING
    return trained.get(name, {}).get(int(line)) if reaches else None


def _weighed(row: Evidence, depth: int) -> Evidence:
    return replace(row, weight=round(row.weight * BY_DEPTH[depth], 3))


def _read_sources(folder: Path, files: list[Path]) -> dict[str, Notebook]:
    """Sources by name, up to so many characters in all."""
    sources, size = {}, 0
    for name, notebook in _sources(folder, files):
        sources[name], size = notebook, size + len(notebook.code)
        if size > MAX_SOURCE:
            break
    return sources


def _sources(folder: Path, files: list[Path]) -> Iterator[tuple[str, Notebook]]:
    """Python and notebooks, nearest first, without tests and the like."""
    paths = [path for path in files if _is_source(path) and not _beside(path, folder)]
    for path in paths[:MAX_PARSED]:
        name = path.relative_to(folder).as_posix()
        try:
            if path.suffix == ".ipynb":
                yield name, read_notebook(read_text(path, NOTEBOOK_BYTES), name)
            else:
                yield name, Notebook(modern(read_text(path)))
        except UnreadableError:
            continue


def _is_source(path: Path) -> bool:
    """True for Python, a notebook, and a script without suffix whose first line calls Python."""
    if path.suffix:
        return path.suffix in (".py", ".ipynb")
    try:
        with path.open("rb") as stream:
            return bool(_SHEBANG.match(stream.read(64)))
    except OSError:
        return False


def _by_names(folder: Path, files: list[Path]) -> Iterator[Evidence]:
    """The parts that the sources define, each by the first that names it."""
    claims: set[Claim] = set()
    for name, notebook in _sources(folder, files):
        for row in named_parts(notebook.code, name):
            if row.claim not in claims:
                claims.add(row.claim)
                yield row


def _by_settings(folder: Path, files: list[Path]) -> Iterator[Placement]:
    """Every other configuration. They are hints, since anything may have such a name, and a lone key counts half."""
    configurations = read_paths([path for path in files if not _beside(path, folder)], folder)
    rows = read_files(configurations)
    placed = decide(folder.name, rows, configurations.skipped)
    quotes = {row.quote.lower() for row in rows if row.weight > 0 and row.claim.cell is placed.cell}
    if placed.cell is not None and len(quotes) == 1:
        placed = decide(folder.name, [replace(row, weight=LONE * row.weight) for row in rows], configurations.skipped)
    hints = (replace(row, form=Form.HINT) if row.claim.speaks else row for row in placed.evidence)
    yield replace(placed, evidence=tuple(hints))
