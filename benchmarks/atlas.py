"""Score the atlas on a file of labelled cases, or fuzz its readers.

    python benchmarks/atlas.py cases.jsonl [--blank] [--errors] [--sure 0.5] [--folder DIR]
    python benchmarks/atlas.py benchmarks/atlas_configurations.jsonl --folder DIR [--part kept] [--errors]
    python benchmarks/atlas.py benchmarks/atlas_cards.jsonl --folder DIR [--blank] [--errors]
    python benchmarks/atlas.py benchmarks/atlas_folders.jsonl --clones DIR [--part development] [--errors]
    python benchmarks/atlas.py benchmarks/atlas_bare.jsonl --clones DIR --bare [--part development] [--errors]
    python benchmarks/atlas.py benchmarks/atlas_parts.jsonl --clones DIR --parts [--part development] [--errors]
    python benchmarks/atlas.py --catalogue
    python benchmarks/atlas.py --fuzz 10000

A case is a JSON object on a line: ``id``, ``kind`` (``card``, ``hf_config``, ``configuration``, ``code``, ``phrase``),
``label`` (``paradigm``, ``likelihood``, ``sampling``, ``accept``), and its input in ``text`` or ``files``: a table of
path to content, or paths below ``--folder``/``id``, or with ``repository`` below ``--folder``/``owner+name``, laid out
at ``commit``. Cases without an input are counted and left out. Alternatives in
``accept`` count as right. A case whose ``evidence`` is ``weak`` states no mechanism of its own: to abstain is right.
``blanked`` tells how much a careful reader finds in a blanked card: its mechanism is ``stated``, ``suggested``, or
there is ``nothing``.

``--clones`` scores repositories laid out as folders, ``DIR/owner+name`` for ``owner/name``, each as a whole and by
its README alone. A case then holds ``repository``, ``commit``, ``part`` (``development`` or ``kept``) and ``label``.
Lay one out at its commit: a later one may say something else.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import random
import re
import shutil
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fourfold_atlas import Placement, UnreadableError, place, place_code, place_files, place_words
from fourfold_atlas.catalogue import systems
from fourfold_atlas.decision import surely
from fourfold_atlas.hub import split_documents

KIND = {
    "exact": "exact",
    "lower_bound": "lower_bound",
    "estimate": "indirect",
    "estimated_bound": "indirect",
    "unnormalised": "unnormalised",
    "none": "none",
}
COST = {"constant": "one_pass", "length": "sequential", "steps": "multi_step", "chain": "mcmc", None: "not_applicable"}

#: words that name a paradigm, for cards with names and paradigm words blanked
PARADIGM_WORDS = (
    r"auto-?regressi\w+|diffusion\w*|\bdiffus\w+|score-based|score matching|flow[- ]matching|rectified flows?|"
    r"normali[sz]ing flows?|flow-based|\bflows?\b|\b\w*GANs?\b|adversarial\w*|generative adversarial\w*|"
    r"\b\w*-?VAEs?\b|variational\w*|auto-?encoders?|latent[- ]variable|energy-based|\bEBMs?\b|\benergy\b|boltzmann|"
    r"(?:large )?language models?|\bLLMs?\b|\bGPT[-\w]*|consistency models?|\bDDPM\b|\bDDIM\b|\bLDMs?\b"
)


def read_cases(path: Path) -> list[dict[str, Any]]:
    """The cases of a file, in order.

    Raises:
        SystemExit: the file cannot be read, or a line is no case; it names the line and what belongs there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(
            f"{path}: cannot be read ({error}); give a text file with one labelled case on a line"
        ) from error
    cases = []
    for number, line in enumerate(lines, 1):
        try:
            case = json.loads(line) if line.strip() else None
            if case is not None:
                case["kind"], case["parts"] if "parts" in case else case["label"]["paradigm"]
                cases.append(case)
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(
                f"{path}:{number}: no labelled case ({error!r}); one JSON object on a line with kind, label and text"
            ) from error
    return cases


def place_case(case: Mapping[str, Any], folder: Path | None, blank: bool) -> Placement | None:
    """The placement of one case, or ``None`` where its input is not there."""
    files = _files(case, folder)
    text = case.get("text") or (
        "\n\n".join(files.values()) if files and case["kind"] in ("card", "phrase", "code") else None
    )
    if case["kind"] in ("card", "phrase") and text:
        return place_words(blanked(text, case) if blank else text, case["id"])
    if case["kind"] == "code" and text:
        return place_code(text, case["id"])
    if case["kind"] in ("hf_config", "configuration") and (files or text):
        return place_files(files or split_documents(text or ""), case["id"])
    return None


def _files(case: Mapping[str, Any], folder: Path | None) -> dict[str, str]:
    files = case.get("files")
    if isinstance(files, dict):
        return {name: text if isinstance(text, str) else json.dumps(text) for name, text in files.items()}
    if isinstance(files, list) and files and isinstance(files[0], dict):
        return {
            str(row.get("path", row.get("name", i))): str(row.get("text", row.get("content", "")))
            for i, row in enumerate(files)
        }
    name = case["repository"].replace("/", "+") if "repository" in case else str(case["id"])
    below = folder / name if folder else None
    if below is None or not below.is_dir():
        return {}
    if "repository" in case and isinstance(files, list):
        return {name: (below / name).read_text(errors="replace") for name in files if (below / name).is_file()}
    return {
        path.relative_to(below).as_posix(): path.read_text(errors="replace")
        for path in sorted(below.rglob("*"))
        if path.is_file()
    }


def blanked(text: str, case: Mapping[str, Any]) -> str:
    """A card without its system's name, its links and the words that name a paradigm."""
    parts = [part for part in re.split(r"[\s(),/]+", str(case.get("name", ""))) if len(part) > 2]
    names = sorted({*parts, *case.get("names", ())}, key=len, reverse=True)
    pattern = "|".join([*(rf"(?<!\w){re.escape(name)}\w*" for name in names), PARADIGM_WORDS])
    return re.sub(pattern, "____", re.sub(r"https?://[^\s)>\]]+", "____", text), flags=re.I)


def right(field: str, given: str | None, label: Mapping[str, Any]) -> bool:
    return given == label[field] or given in (label.get("accept") or {}).get(field, [])


def score(cases: list[dict[str, Any]], folder: Path | None, blank: bool, errors: bool, sure: float = 0.0) -> None:
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    absent = 0
    for case in cases:
        started = time.perf_counter()
        placed = place_case(case, folder, blank)
        if placed is None:
            absent += 1
            continue
        placed = surely(placed, sure)
        row = judge(case, placed, time.perf_counter() - started)
        by_kind[f"{case['kind']} {case.get('blanked', '') if blank else ''}".strip()].append(row)
        if errors and not row["all"]:
            explain(case, placed)
    rows = [row for group in by_kind.values() for row in group]
    if not rows:
        print(f"no case has an input ({absent} without)")
        return
    print(f"{'kind':<14} {'n':>4} {'paradigm':>9} {'macro':>6} {'+lik+samp':>9} {'wrong':>6} {'abstain':>8}")
    for kind, group in [*sorted(by_kind.items()), ("all", rows)]:
        print(
            f"{kind:<14} {len(group):>4} {_mean(group, 'paradigm'):>9.3f} {macro(group):>6.3f} "
            f"{_mean(group, 'all'):>9.3f} {sum(r['wrong'] for r in group):>6} {sum(r['abstained'] for r in group):>8}"
        )
    failed = sum(not row["paradigm"] for row in rows)
    wrong = sum(row["wrong"] for row in rows)
    print(
        f"wrong among errors: {wrong}/{failed}; slowest {max(row['seconds'] for row in rows):.2f} s; "
        f"without input: {absent}"
    )


def overlap(cases: list[dict[str, Any]]) -> None:
    """Print how many cases are of repositories that lessons are of too, by the kind of the lessons."""
    with (Path(__file__).parents[1] / "tools" / "lessons" / "sources.tsv").open(encoding="utf-8") as stream:
        lessons = Counter((row["repository"].lower(), row["kind"]) for row in csv.DictReader(stream, delimiter="\t"))
    of = [case["repository"].lower() for case in cases if "repository" in case]
    shared = {kind: sum((name, kind) in lessons for name in of) for kind in sorted({kind for _, kind in lessons})}
    if of:
        print("cases of repositories with lessons: " + ", ".join(f"{n} {kind}" for kind, n in shared.items()))


def judge(case: Mapping[str, Any], placed: Placement, seconds: float) -> dict[str, Any]:
    label = case["label"]
    cell = placed.cell.value.replace("-", "_") if placed.cell else None
    abstaining_right = cell is None and case.get("evidence") == "weak"
    paradigm = abstaining_right or right("paradigm", cell, label)
    rest = "likelihood" not in label or (
        right("likelihood", KIND[placed.likelihood.value], label)
        and right("sampling", COST[placed.cost.value if placed.cost else None], label)
    )
    return {
        "paradigm": paradigm,
        "all": abstaining_right or (paradigm and rest),
        "wrong": not paradigm and cell is not None,
        "abstained": cell is None,
        "label": label["paradigm"],
        "seconds": seconds,
    }


def _mean(rows: list[dict[str, Any]], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


def macro(rows: list[dict[str, Any]]) -> float:
    """Recall averaged over the paradigms of the labels."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        groups[row["label"]].append(row["paradigm"])
    return sum(sum(group) / len(group) for group in groups.values()) / len(groups)


def explain(case: Mapping[str, Any], placed: Placement) -> None:
    label = case["label"]
    print(
        f"- {case['id']}: {label['paradigm']} {label.get('likelihood')} {label.get('sampling')} -> "
        f"{placed.cell or 'abstains'} {placed.likelihood} {placed.cost}  {placed.missing}"
    )
    votes: Counter[str] = Counter()
    for row in placed.evidence:
        votes[row.claim.value] += row.weight  # type: ignore[assignment]
    if case["kind"] == "phrase":
        print("   ", str(case.get("text"))[:400])
    print("   ", [(claim, round(vote, 1)) for claim, vote in votes.most_common(9)])


def catalogue(errors: bool, half: int | None = None) -> None:
    """The engine, given only an entry's objective and sampling, against the entry's paradigm."""
    costs = {**COST, "not_applicable": "not_applicable"}
    cases = [
        {
            "id": system.id,
            "kind": "phrase",
            "text": f"{system.objective}; {system.sampling}",
            "label": {
                "paradigm": system.paradigm.value.replace("-", "_"),
                "likelihood": KIND[system.likelihood],
                "sampling": costs[system.cost],
            },
        }
        for system in systems()
        if half is None or zlib.crc32(system.id.encode()) % 2 == half
    ]
    score(cases, None, False, errors)


def readme(folder: Path) -> Path | None:
    """The README at the top of a folder, in Markdown before other forms."""
    found = [path for path in folder.iterdir() if path.is_file() and path.name.lower().startswith("readme")]
    return min(found, key=lambda path: (path.suffix.lower() != ".md", path.name), default=None)


#: prose, which a bare repository lacks
_PROSE = shutil.ignore_patterns(
    "*.md", "*.rst", "*.txt", "[Rr][Ee][Aa][Dd][Mm][Ee]*", "*.ipynb", "docs", "doc", ".git", "CITATION*", "LICENSE*"
)


def bare(folder: Path) -> Path:
    """A copy of a repository without its README and its prose."""
    copy = Path(tempfile.mkdtemp()) / folder.name
    shutil.copytree(folder, copy, ignore=_PROSE)
    return copy


def clones(cases: list[dict[str, Any]], below: Path, errors: bool, without_prose: bool = False) -> None:
    """Print how many repositories are placed right, as folders and by their READMEs alone, by part and in all."""
    inputs = (("bare", bare),) if without_prose else (("folder", lambda folder: folder), ("readme", readme))
    print(f"{'part':<12} {'input':<7} {'n':>4} {'paradigm':>9} {'macro':>6} {'wrong':>6} {'abstain':>8}")
    parts = [*dict.fromkeys(case["part"] for case in cases)]
    for part in [*parts, "all"] if len(parts) > 1 else parts:
        chosen = [case for case in cases if part in ("all", case["part"])]
        for kind, input_of in inputs:
            rows = []
            for case in chosen:
                folder = below / case["repository"].replace("/", "+")
                if folder.is_dir():
                    placed = _placed(input_of(folder))
                    rows.append(judge(case, placed, 0.0))
                    if errors and part != "all" and not rows[-1]["paradigm"]:
                        reason = placed.reason.where if placed.reason else placed.missing
                        verdict = f"{placed.cell} {placed.confidence:.2f}"
                        print(f"- {case['repository']}: {case['label']['paradigm']} -> {verdict} [{reason}]")
            if rows:
                wrong, abstained = (sum(row[key] for row in rows) for key in ("wrong", "abstained"))
                print(
                    f"{part:<12} {kind:<7} {len(rows):>4} {_mean(rows, 'paradigm'):>9.3f} {macro(rows):>6.3f} "
                    f"{wrong:>6} {abstained:>8}"
                )


def parts(cases: list[dict[str, Any]], below: Path | None, errors: bool) -> None:
    """Print the share of the parts that are named, and of the named ones that are none, by kind of input and in all.

    A case holds ``parts`` (alternatives joined by ``|``) and ``also`` (parts that are right but need not be named).
    Where it holds ``answers``, the paradigm of a part by its role, the share of the named ones with it is printed too.
    """
    print(f"{'part':<12} {'input':<9} {'n':>3} {'parts':>6} {'named':>6} {'invented':>9} {'answers':>8}")
    counts: dict[tuple[str, str], list[tuple[int, int, int, int, int, int]]] = defaultdict(list)
    for case in cases:
        placed = _hybrid(case, below)
        if placed is None:
            continue
        roles = {part.role for part in placed.parts} | _WITHIN.get(str(placed.cell), set())
        wanted = [set(part.split("|")) for part in case["parts"]]
        right = set().union(*wanted, case["also"], _WITHIN.get(str(placed.cell), set()))
        own = {part.role: str(part.cell) for part in placed.parts}
        answers = [own[role] == cell for role, cell in case.get("answers", {}).items() if role in own]
        named = sum(bool(part & roles) for part in wanted)
        row = (len(wanted), named, len(roles), len(roles - right), len(answers), sum(answers))
        for key in ((case["part"], case["kind"]), (case["part"], "all"), ("all", "all")):
            counts[key].append(row)
        if errors and (row[1] < row[0] or row[3]):
            missed = ["|".join(sorted(part)) for part in wanted if not part & roles]
            print(f"- {case['id']} ({placed.cell}): missed {missed}, invented {sorted(roles - right)}")
    for (part, kind), rows in sorted(counts.items()):
        total, named, told, invented, answers, agree = map(sum, zip(*rows, strict=True))
        figures = f"{total:>6} {named / total:>6.2f} {invented / max(told, 1):>9.2f}"
        print(f"{part:<12} {kind:<9} {len(rows):>3} {figures} {f'{agree}/{answers}':>8}")


#: parts that a paradigm has within itself
_WITHIN = {"adversarial": {"critic"}, "latent-variable": {"autoencoder"}}


def _hybrid(case: Mapping[str, Any], below: Path | None) -> Placement | None:
    """The placement of a hybrid by its prose, its README or its whole folder. ``None`` where that is not at hand."""
    if case["kind"] == "prose":
        return place_words(case["text"], case["id"])
    folder = below / case["repository"].replace("/", "+") if below else None
    if folder is None or not folder.is_dir():
        return None
    return _placed(readme(folder) if case["kind"] == "card" else folder)


def _placed(path: Path | None) -> Placement:
    """The placement of a path; an unreadable one is left open."""
    with contextlib.suppress(UnreadableError):
        if path is not None:
            return place(path)
    return place_words("")


def mutations(seed: bytes, count: int, randomness: random.Random) -> Iterator[bytes]:
    """Truncations, flipped and inserted bytes, repeated stretches, deep nesting, huge numbers."""
    for _ in range(count):
        data = bytearray(seed)
        for _ in range(randomness.randint(1, 6)):
            at = randomness.randrange(len(data) + 1)
            data[at:at] = randomness.choice(
                [
                    b"",
                    b"\x00",
                    b"[" * 300,
                    b"{" * 200,
                    b"9" * 400,
                    b"\xff\xfe",
                    b"((((" * 30,
                    b"\n\n#",
                    b"'''",
                    randomness.randbytes(8),
                    bytes(data[at : at + 40]),
                ]
            )
            if randomness.random() < 0.3:
                del data[randomness.randrange(len(data) + 1) :]
            elif randomness.random() < 0.5 and data:
                data[randomness.randrange(len(data))] = randomness.randrange(256)
        yield bytes(data)


SEEDS: Mapping[str, bytes] = {
    "card.md": b"# A model\n\nWe train a denoiser to predict the noise. Unlike GANs, it has no discriminator.\n\n"
    b"```bibtex\n@article{x}\n```\n| a | b |\n",
    "model_index.json": b'{"_class_name": "APipeline", "scheduler": ["diffusers", "DDIMScheduler"], '
    b'"vae": ["diffusers", "AutoencoderKL"], "n": [1, 2.5e300]}',
    "config.json": b'{"architectures": ["AForCausalLM"], "auto_map": {"AutoModel": "x"}, "vocab_size": 32000, '
    b'"is_encoder_decoder": false}',
    "config.yaml": b"model:\n  target: a.b.DDPM\n  params:\n    beta_schedule: linear\n    discriminator: null\n",
    "train.py": b"for x, _ in loader:\n    z = torch.randn(4, 8)\n    loss_D = bce(D(x), real) + bce(D(G(z)), fake)\n"
    b"    loss_D.backward()\n",
    "weights.safetensors": (60).to_bytes(8, "little") + b'{"lm_head.weight": {"dtype": "F32", "shape": [2, 3]}}       ',
}


def fuzz(count: int, seed: int = 0) -> float:
    """The seconds of processor time of the slowest of ``count`` mutated inputs per reader.

    Anything but a placement or a clear error is raised.
    """
    randomness = random.Random(seed)
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, content in SEEDS.items():
            path = Path(folder) / name
            for data in mutations(content, count, randomness):
                path.write_bytes(data)
                started = time.process_time()
                with contextlib.suppress(UnreadableError):
                    place(path)
                slowest = max(slowest, time.process_time() - started)
            path.unlink()
    return slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="?", type=Path)
    parser.add_argument("--blank", action="store_true", help="blank names and paradigm words of cards first")
    parser.add_argument("--errors", action="store_true", help="print every case that is not entirely right")
    parser.add_argument("--folder", type=Path, help="inputs of cases by id, where the file holds none")
    parser.add_argument("--clones", type=Path, help="where the repositories of the file are laid out as folders")
    parser.add_argument("--part", default="", help="only the repositories of this part: development or kept")
    parser.add_argument("--sure", type=float, default=0.0, help="answer only from this confidence on")
    parser.add_argument("--catalogue", action="store_true", help="score the engine on the catalogue's own words")
    parser.add_argument("--half", type=int, choices=(0, 1), help="only this half of the catalogue: tune on 0, report 1")
    parser.add_argument("--fuzz", type=int, metavar="COUNT")
    parser.add_argument("--bare", action="store_true", help="place repositories without README and prose")
    parser.add_argument("--parts", action="store_true", help="score the parts that are named of hybrids")
    given = parser.parse_args()
    if given.cases and given.parts:
        chosen = [case for case in read_cases(given.cases) if given.part in ("", case["part"])]
        parts(chosen, given.clones, given.errors)
    elif given.cases and given.clones:
        chosen = [case for case in read_cases(given.cases) if given.part in ("", case["part"])]
        clones(chosen, given.clones, given.errors, given.bare)
    elif given.cases:
        cases = [case for case in read_cases(given.cases) if given.part in ("", case.get("part"))]
        overlap(cases)
        score(
            [case for case in cases if not given.blank or case["kind"] == "card"],
            given.folder,
            given.blank,
            given.errors,
            given.sure,
        )
    if given.catalogue:
        catalogue(given.errors, given.half)
    if given.fuzz:
        print(f"{given.fuzz} mutations of each of {len(SEEDS)} inputs: no crash; slowest {fuzz(given.fuzz):.2f} s")


if __name__ == "__main__":
    main()
