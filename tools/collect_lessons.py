"""Collect the lessons of the atlas: read the texts of ``lessons/sources.tsv``, and keep their words and votes.

    python tools/collect_lessons.py --clones DIR           # every source; stops at the first that is missing
    python tools/collect_lessons.py --clones DIR --keep    # keeps what was read before of sources that are missing
    python tools/collect_lessons.py --clones DIR --missing # prints the commands that fetch the missing sources

A source is a file of a public repository at a commit, with the system it is about, the cell of that system, its kind
(``card``, ``abstract``, ``code``, ``settings``) and the names that are blanked in it. ``DIR`` holds clones, ordinary or
bare, at ``DIR/owner+name`` or one folder below. With network access, ``--missing | sh`` fetches them all.
To the sources come lines in our own words: the catalogue's on each system
(objective and sampling; its parts) and those of ``lessons/lines.tsv``.

What is written, ``lessons/lessons.jsonl.xz``, holds no sentence: of each text the SHA-256 digest of its file, the set
of its stems (those that occur in texts of ``SYSTEMS`` systems or more and name no paradigm, system, organisation or
person), the votes that the rules find, by claim and by rule, and the digest of the rules that found them.
A card is read whole and by its head alone, as it
stands and with names and paradigm words blanked. ``tools/learn_atlas.py`` learns from that file alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import lzma
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from fourfold_atlas import rules
from fourfold_atlas.catalogue import Component, systems
from fourfold_atlas.code import read_statements
from fourfold_atlas.evidence import Evidence
from fourfold_atlas.hub import read_keys, settings_words, without_remarks
from fourfold_atlas.sources import defining
from fourfold_atlas.votes import by_claim, by_rule, weighs
from fourfold_atlas.wording import stems
from fourfold_atlas.words import MAX_PROSE, preamble, read_phrases, unfoiled, without_homonyms

HERE = Path(__file__).parent / "lessons"
SOURCES, LINES, LESSONS = HERE / "sources.tsv", HERE / "lines.tsv", HERE / "lessons.jsonl.xz"
NAMES, APART = HERE / "names.txt", HERE / "apart.txt"
#: a card's head has so many characters
HEAD = 900
#: a stem counts from so many systems on
SYSTEMS = 3
#: rules on which no vote depends
NO_VOTES = ("names", "reasons", "hybrids", "promises")
#: a name of more words is a title, whose words are everybody's
TITLE = 3
#: words that name a paradigm
PARADIGM_WORDS = (
    r"auto-?regressi\w+|diffusion\w*|\bdiffus\w+|score-based|score matching|flow[- ]matching|rectified flows?|"
    r"normali[sz]ing flows?|flow-based|\bflows?\b|\b\w*GANs?\b|adversarial\w*|"
    r"\b\w*-?VAEs?\b|variational\w*|auto-?encoders?|"
    r"latent[- ]variable|energy-based|\bEBMs?\b|\benergy\b|boltzmann|(?:large )?language models?|\bLLMs?\b|\bGPT[-\w]*|"
    r"consistency models?|\bDDPM\b|\bDDIM\b|\bLDMs?\b"
)
_NAMING = re.compile(rf"{PARADIGM_WORDS}|diffus|adversari|autoregress|variation|auto-?encod", re.I)
#: stems that stand in some name and are everybody's all the same
_EVERYDAY_TEXT = """
python self gpu prob efficient min custom reduce lambda idea com lightweight interactive arbitrary modular hat ground
projection explanation uncertainty attn reuse biological offline conv exploration physic critical v3 international
yourself multi-modal matter big sentiment lib multi-task fair recommender thin tab former quantizer disentanglement
explainable genetic technolog industrial asymmetric model-bas adjustment revision pixel-level survival modulation
atmospheric propagate sinusoidal electronic medicine personaliz personalization hyperbolic solid transducer
dequantization data-dependent piecewise aligner stylization emerg inform rl gnn vq odes nmt rlhf wmt moe mrf mmd mm se
mi sup vis cp db xi conformer speculative doubly tuner anatomy sleep rocket bot canva discovery imagine lite micro
playground pro
"""


@dataclass(frozen=True)
class Source:
    """A text to learn from: what it is about, and where it stands."""

    system: str
    cell: str
    kind: str
    repository: str
    commit: str
    path: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A line to learn from; ``name`` is that of its system, and empty where it is about none in particular."""

    system: str
    cell: str
    source: str
    text: str
    name: str


def read_sources(path: Path = SOURCES) -> list[Source]:
    """The rows of the table of sources."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        return [_source(row) for row in rows]


def _source(row: Mapping[str, str]) -> Source:
    names = tuple(filter(None, row["names"].split("|")))
    return Source(row["system"], row["cell"], row["kind"], row["repository"], row["commit"], row["path"], names)


def clone(folder: Path, repository: str) -> Path:
    """The git directory of a repository.

    Raises:
        SystemExit: there is no clone of it.
    """
    base = folder / repository.replace("/", "+")
    places = [place for below in (base, *sorted(base.glob("*/"))) for place in (below / ".git", below)]
    found = next((place for place in places if (place / "objects").is_dir()), None)
    if found is None:
        raise SystemExit(f"{base}: no clone of https://github.com/{repository}; clone it there")
    return found


def content(source: Source, folder: Path) -> bytes:
    """The bytes of a source's file at its commit.

    Raises:
        SystemExit: the clone does not hold it.
    """
    where = clone(folder, source.repository)
    command = ["git", "--git-dir", str(where), "show", f"{source.commit}:{source.path}"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{where}: {source.commit}:{source.path} is missing; fetch that commit")
    return done.stdout


def hidden_stems() -> frozenset[str]:
    """Stems of people, organisations and catalogued systems, unless the catalogue uses them as plain words too."""
    counts: dict[str, int] = defaultdict(int)
    for system in systems():
        for stem in stems(f"{system.objective} {system.sampling}"):
            counts[stem] += 1
    names = [name for system in systems() for name in (system.name, *system.aliases) if len(name.split()) <= TITLE]
    names += [system.organisation for system in systems()]
    acronyms = {stem for name in names if name.isalnum() and sum(map(str.isupper, name)) > 1 for stem in stems(name)}
    tokens = {stem for name in names for stem in stems(f"{name} {re.sub(r'[0-9.]+', ' ', name)}")}
    plain = ({stem for stem, count in counts.items() if count > 1} - acronyms) | set(_EVERYDAY_TEXT.split())
    return frozenset((tokens | acronyms) - plain) | frozenset(NAMES.read_text(encoding="utf-8").split())


def names_paradigm(stem: str) -> bool:
    """Whether a stem names a paradigm: foils and negations would count with it, and the rules see to that."""
    return bool(_NAMING.search(stem))


def blanked(text: str, names: Iterable[str]) -> str:
    """A card without its system's names, its links and the words that name a paradigm."""
    parts = {part for name in names for part in (name, *re.split(r"[\s(),/]+", name)) if len(part) > 2}
    pattern = "|".join(
        [*(rf"(?<!\w){re.escape(name)}\w*" for name in sorted(parts, key=len, reverse=True)), PARADIGM_WORDS]
    )
    return re.sub(pattern, "____", re.sub(r"https?://[^\s)>\]]+", "____", text), flags=re.I)


def abstract(text: str) -> str:
    """Title and abstract of a page of proceedings, from its YAML."""
    found = dict(re.findall(r"(?ms)^(title|abstract):[ \t]*(.*?)(?=^[a-z_]+:|\Z)", text))
    title, words = (" ".join(found.get(key, "").split()).strip("'\"|>- ") for key in ("title", "abstract"))
    return f"{title}\n\n{words}"


def _votes(rows: list[Evidence]) -> dict[str, dict[str, float]]:
    """Votes by claim, of those that are weighed, and by rule, rounded."""
    votes = {claim: round(vote, 2) for claim, vote in by_claim(rows).items() if weighs(claim)}
    claims = {str(claim): vote for claim, vote in votes.items() if vote}
    found = {rule: round(vote, 2) for rule, vote in by_rule(rows).items() if round(vote, 2)}
    return {"claims": dict(sorted(claims.items())), "rules": dict(sorted(found.items()))}


def features(kind: str, text: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """The features of a text: for each part its stems and its votes, as it stands and, for cards, blanked."""
    without = "|".join(
        rf"(?<!\w){re.escape(name)}\w*" for name in sorted(names, key=len, reverse=True) if len(name) > 2
    )
    unnamed = re.sub(without, " ", text) if without else text
    if kind == "code":
        return [{"stems": [*stems(unnamed[:MAX_PROSE])], "votes": [_votes(read_statements(text))]}]
    if kind == "settings":
        plain = without_remarks(text)
        return [{"stems": [*stems(settings_words(plain[:MAX_PROSE]))], "votes": [_votes(list(read_keys("", plain)))]}]
    if kind == "line":
        return [{"stems": [*stems(unfoiled(without_homonyms(unnamed)))], "votes": [_votes(read_phrases(text))]}]
    text = text[preamble(text) :]
    hidden = blanked(text, names)
    ends = (MAX_PROSE, HEAD) if len(text) > 1.5 * HEAD else (MAX_PROSE,)
    return [
        {
            "stems": [*stems(unfoiled(without_homonyms(hidden[:end])))],
            "votes": [_votes(read_phrases(part[:end])) for part in (text, hidden)],
        }
        for end in ends
    ]


def read(source: Source, folder: Path) -> dict[str, Any]:
    """The lesson of one source."""
    raw = content(source, folder)
    text = raw.decode("utf-8", "replace")
    kind = "card" if source.kind == "abstract" else source.kind
    if source.kind == "code":
        text = re.sub(r"\n{3,}", "\n\n", defining(text)[1])
    elif source.kind == "abstract":
        text = abstract(text)
    where = f"https://github.com/{source.repository}/blob/{source.commit}/{source.path}"
    return _lesson(source.system, source.cell, kind, where, raw, features(kind, text, source.names))


def _lesson(system: str, cell: str, kind: str, where: str, raw: bytes, texts: list[dict[str, Any]]) -> dict[str, Any]:
    digest = hashlib.sha256(raw).hexdigest()
    head = {"system": system, "cell": cell, "kind": kind, "source": where, "digest": digest}
    return {**head, "rules": rules_digest(), "texts": texts}


@lru_cache(maxsize=1)
def rules_digest() -> str:
    """The digest of the rules that votes depend on, as they stand."""
    folder = Path(rules.__file__).parent / "rules"
    paths = (path for path in sorted(folder.glob("*.toml")) if path.stem not in NO_VOTES)
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def read_before(path: Path = LESSONS) -> dict[tuple[str, str], dict[str, Any]]:
    """The lessons of an earlier collection, by source and system, with their stems as words.

    Votes of rules that are no more are left out.
    """
    first, *rows = lzma.decompress(path.read_bytes()).decode("utf-8").splitlines()
    names: list[str] = json.loads(first)["stems"]
    ids = frozenset(rules.rule_ids())
    before = {}
    for lesson in map(json.loads, rows):
        texts = [{**text, "stems": [names[i] for i in accumulate(text["stems"])]} for text in lesson["texts"]]
        for votes in (votes for text in texts for votes in text["votes"]):
            votes["rules"] = {rule: vote for rule, vote in votes["rules"].items() if rule in ids}
        before[lesson["source"], lesson["system"]] = {"rules": "", **lesson, "texts": texts}
    return before


def read_or_keep(source: Source, folder: Path, before: Mapping[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    """The lesson of a source, or the earlier one where the source is missing.

    Raises:
        SystemExit: the source is missing, and was never read.
    """
    try:
        return read(source, folder)
    except SystemExit:
        where = f"https://github.com/{source.repository}/blob/{source.commit}/{source.path}"
        if (where, source.system) not in before:
            raise
        kept = before[where, source.system]
        return kept if kept["rules"] == rules_digest() else {**kept, "rules": ""}


def missing(sources: Iterable[Source], folder: Path) -> list[str]:
    """Commands of a shell that fetch the missing repositories at the commits that are read, each once."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        try:
            content(source, folder)
        except SystemExit:
            wanted[source.repository].add(source.commit)
    commands = []
    for repository, commits in sorted(wanted.items()):
        place = f"{folder}/{repository.replace('/', '+')}"
        commands.append(f"git init -q --bare {place}")
        link = f"https://github.com/{repository}"
        commands += [f"git --git-dir {place} fetch -q --depth 1 {link} {commit}" for commit in sorted(commits)]
    return commands


def read_line(row: Line) -> dict[str, Any]:
    """The lesson of a line."""
    names = [row.name] if row.name else []
    return _lesson(row.system, row.cell, "line", row.source, row.text.encode(), features("line", row.text, names))


def lines(apart: frozenset[str]) -> list[Line]:
    """Lines in our own words: the catalogue's on each system and its parts, and those of ``lines.tsv``.

    Systems that are kept apart as tests have none.

    Raises:
        SystemExit: a line is about a system that is kept apart, or that the catalogue does not have.
    """
    known = {system.id: system for system in systems() if system.id not in apart}
    found: list[Line] = []
    for system in known.values():
        told = {"": f"{system.objective}; {system.sampling}", "#parts": "; ".join(map(_told, system.components))}
        found += [
            Line(system.id, system.paradigm.value, f"catalogue:{system.id}{part}", text, system.name)
            for part, text in told.items()
            if text
        ]
    for row in LINES.read_text(encoding="utf-8").splitlines()[1:]:
        cell, id_, text = row.split("\t")
        if id_ and id_ not in known:
            raise SystemExit(f"{LINES}: {id_} is kept apart as a test, or is not in the catalogue; remove its line")
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        found.append(Line(id_ or f"line-{digest}", cell, f"lines:{digest}", text, known[id_].name if id_ else ""))
    return found


def _told(part: Component) -> str:
    return f"{part.name}: {part.role}" + (f", {part.trained}" if part.trained else "")


def kept_stems(lessons: list[dict[str, Any]]) -> list[str]:
    """The stems that are kept, in order."""
    of: dict[str, set[str]] = defaultdict(set)
    for lesson in lessons:
        for text in lesson["texts"]:
            for stem in text["stems"]:
                of[stem].add(lesson["system"])
    hidden = hidden_stems()
    return sorted(
        stem for stem, found in of.items() if len(found) >= SYSTEMS and stem not in hidden and not names_paradigm(stem)
    )


def write(lessons: list[dict[str, Any]], path: Path = LESSONS) -> None:
    """One line with the stems, then a line per lesson with the stems' numbers; the same bytes for the same lessons."""
    kept = kept_stems(lessons)
    number = {stem: i for i, stem in enumerate(kept)}
    rows = [json.dumps({"stems": kept, "rules": rules_digest()}, ensure_ascii=False)]
    for lesson in sorted(lessons, key=lambda row: (row["kind"], row["source"], row["system"])):
        texts = [
            {**text, "stems": _gaps(sorted(number[s] for s in text["stems"] if s in number))}
            for text in lesson["texts"]
        ]
        rows.append(json.dumps({**lesson, "texts": texts}, ensure_ascii=False, separators=(",", ":")))
    data = ("\n".join(rows) + "\n").encode()
    path.write_bytes(lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME))


def _gaps(numbers: list[int]) -> list[int]:
    """Ascending numbers by their differences, which compress better."""
    return [number - before for before, number in zip([0, *numbers], numbers, strict=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clones", type=Path, required=True, help="folder of the clones")
    parser.add_argument("--keep", action="store_true", help="keep what was read before of sources that are missing")
    parser.add_argument("--missing", action="store_true", help="print the commands that fetch the missing sources")
    parser.add_argument("--processes", type=int, default=None)
    given = parser.parse_args()
    apart = frozenset(APART.read_text(encoding="utf-8").split())
    sources = read_sources()
    if clash := {source.system for source in sources} & apart:
        raise SystemExit(f"{SOURCES}: {sorted(clash)[0]} is kept apart as a test ({APART.name}); remove it")
    if given.missing:
        print("\n".join(missing(sources, given.clones)))
        return
    reader = partial(read_or_keep, folder=given.clones, before=read_before() if given.keep else {})
    with ProcessPoolExecutor(given.processes) as pool:
        lessons = list(pool.map(reader, sources, chunksize=64))
        lessons += pool.map(read_line, lines(apart), chunksize=32)
    write(lessons)
    old = sum(lesson["rules"] != rules_digest() for lesson in lessons)
    size = LESSONS.stat().st_size
    print(f"{LESSONS}: {len(lessons)} lessons, {old} of them read by earlier rules, {size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
