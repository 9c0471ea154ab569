"""Transcription: a model that is trained here on synthetic and recorded speech, beside Whisper tiny.en.

    python benchmarks/transcription.py data FOLDER [--aligner RUN]       # sounds with transcripts, about ten minutes
    python benchmarks/transcription.py fit FOLDER RUN --budget 20m
    python benchmarks/transcription.py score RUN [--whisper FOLDER] [--beams 8] [--alignments 0 0.3]

The training set has two halves. One is said by ``espeak-ng`` in 32 voices at many speeds: sentences of Python's
documentation, its words in any order, sentences that a chain of words of the training prompts makes, and lists of
numbers, dates and letters. The other is the training part of Asterisk's English prompts, at three speeds, alone and
several in a row; with an aligner, which is an earlier run, also words that are cut out of prompts, those too long to be
heard at once among them. Half of all get noise. The test is the fifth of the prompts that :mod:`speech_data` holds out:
113 recordings of a voice that training has heard, of sentences that it has not. Words are compared in lower case,
without marks, and numbers as words. Intervals are bootstraps over prompts. ``score`` writes its rows into
``results/transcription.json``, in the place of those of the same system.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import speech_data
import torch
from provenance import commit
from speech_data import VOICES, Spoken

from fourfold_speech.networks import STRIDE

RESULTS = Path(__file__).parent / "results" / "transcription.json"
RATE, LONGEST = 8000, 6.0
"""Samples in a second, and seconds of a training example, at most."""
ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ONES += ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh")
ORDINALS += ("twelfth", *(f"{one}th" for one in ONES[13:]), *(f"{ten[:-1]}ieth" for ten in TENS))
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LETTERS = (
    *"abcdefghijklmnopqrstuvwxyz",
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
)
LETTERS += (
    "juliet",
    "kilo",
    "lima",
    "mike",
    "november",
    "oscar",
    "papa",
    "quebec",
    "romeo",
    "sierra",
    "tango",
    "uniform",
)
LETTERS += ("victor", "whiskey", "x ray", "yankee", "zulu")
SIGNS = (
    "star",
    "pound",
    "hash",
    "dollar",
    "semicolon",
    "colon",
    "slash",
    "backslash",
    "dot",
    "dash",
    "plus",
    "equals",
    "at",
)
SIGNS += (
    "percent",
    "ampersand",
    "caret",
    "tick",
    "brace",
    "bracket",
    "parenthesis",
    "comma",
    "space",
    "quote",
    "underscore",
)
LISTS = (
    ONES,
    TENS,
    ORDINALS,
    (*MONTHS, "december"),
    DAYS,
    LETTERS,
    SIGNS,
    (*["hundred", "thousand", "million", "minute", "hour"],),
)


# --- words ------------------------------------------------------------------------------------------------------------


def said(words: str) -> str:
    """Words as they are spoken: lower case, numbers and signs of telephones as words, no other marks."""
    words = re.sub(
        r"\d+", lambda match: f" {number(match[0])} ", words.lower().replace("*", " star ").replace("#", " pound ")
    )
    return speech_data.plain(words)


def number(digits: str) -> str:
    """``7`` as "seven", ``42`` as "forty two"; longer numbers digit by digit."""
    if int(digits) < 20 and not digits.startswith("0"):
        return ONES[int(digits)]
    if len(digits) == 2 and digits[0] > "1":
        return f"{TENS[int(digits[0]) - 2]} {'' if digits[1] == '0' else ONES[int(digits[1])]}".strip()
    return " ".join(ONES[int(digit)] for digit in digits)


def prompts(held_out: bool) -> list[Spoken]:
    """Recorded prompts with their words as they are spoken, but those of silence."""
    lines = gzip.decompress(speech_data.WORDS.read_bytes()).decode("utf-8", "replace").splitlines()
    words = dict(line.partition(": ")[::2] for line in lines)
    clips = [clip for clip in speech_data.prompts(held_out) if "of silence" not in clip.words]
    return [clip._replace(words=said(words[clip.name])) for clip in clips]


def sentences(draw: random.Random, sentences_heard: Sequence[str]) -> Iterator[str]:
    """Sentences without end: of Python's documentation, its words in any order, a chain of known words, and lists."""
    from pydoc_data.topics import topics

    prose = [line.split() for text in topics.values() for line in re.split(r"[.;:(){}\[\]\"`*=|>\n]{1,}", text)]
    prose = [words for words in prose if all(word.strip(",").isalpha() for word in words) and len(words) > 2]
    every = sorted(
        {word.strip(",").lower() for words in prose for word in words} | set(" ".join(sentences_heard).split())
    )
    chain: dict[str, list[str]] = defaultdict(list)
    for sentence in sentences_heard:
        for before, after in itertools.pairwise(["", *sentence.split(), ""]):
            chain[before].append(after)
    while True:
        kind, most = draw.random(), draw.randint(2, 9)
        if kind < 0.2:
            words = draw.choice(prose)
            at = draw.randrange(max(len(words) - most, 1))
            yield said(" ".join(words[at : at + most]))
        elif kind < 0.4:
            yield said(" ".join(draw.choices(every, k=most)))
        elif kind < 0.75:
            words = [draw.choice(chain[""])]
            while len(words) < 10 and (after := draw.choice(chain[words[-1]])):
                words.append(after)
            yield " ".join(words)
        else:
            lists = draw.choices(LISTS, k=2)
            yield " ".join(draw.choice(draw.choice(lists)) for _ in range(draw.randint(1, 5)))


# --- sounds -----------------------------------------------------------------------------------------------------------


def synthetic(count: int, seed: int = 0) -> list[Spoken]:
    """Sentences that ``espeak-ng`` says, none of them a held-out prompt."""
    draw = random.Random(seed)
    secret = {clip.words for clip in prompts(True)}
    written = sentences(draw, [clip.words for clip in prompts(False)])
    texts = list(itertools.islice((text for text in written if text and text not in secret), count))
    wanted = [
        (t, draw.choice(VOICES), draw.randint(120, 200), draw.randint(25, 75), draw.randint(60, 120)) for t in texts
    ]
    with ThreadPoolExecutor(2) as threads:
        waves = list(threads.map(lambda voice: speech_data.espeak(*voice, RATE), wanted))
    return [Spoken(voice[0], wave, RATE, voice[1]) for voice, wave in zip(wanted, waves, strict=True)]


def at_speed(clip: Spoken, speed: float) -> Spoken:
    """The same, faster or slower, with a higher or lower voice (Ko et al. 2015, Audio Augmentation)."""
    return clip._replace(wave=soxr.resample(clip.wave, clip.rate * speed, clip.rate))


@dataclass(frozen=True)
class Words:
    """A prompt whose words can be cut out.

    Attributes:
        prompt: the recording.
        cuts: where each word begins, in samples, and where the last one ends.
    """

    prompt: Spoken
    cuts: tuple[int, ...]

    def span(self, start: int, end: int) -> Spoken:
        """Words ``start`` .. ``end - 1``, faded in and out within 5 ms."""
        wave = self.prompt.wave[self.cuts[start] : self.cuts[end]]
        fade = np.minimum(np.arange(len(wave)) / (0.005 * RATE), 1).astype(np.float32)
        words = " ".join(self.prompt.words.split()[start:end])
        return self.prompt._replace(words=words, wave=wave * fade * fade[::-1])

    def some(self, draw: random.Random, most: int = 6) -> Spoken:
        """Up to ``most`` words in a row."""
        count = len(self.cuts) - 1
        start = draw.randrange(count)
        return self.span(start, min(start + draw.randint(1, most), count))


def aligned(run: Path, every: Sequence[Spoken]) -> list[Words]:
    """Where the words of prompts are, by the likeliest alignment of an earlier run; prompts without one are left out.

    A cut is at the quietest place between the last frame of a word and the first one of the next.
    """
    import fourfold

    model = fourfold.Run.load(run, "cpu").model.eval()
    space, objective, hop = model.space, model.objective, RATE * STRIDE // 100
    pairs = []
    for clip in every:
        samples = torch.from_numpy((clip.wave.clip(-1, 1) * 32767).round()).to(torch.int16)
        with torch.no_grad():
            heard = model.estimand.encode(1, samples[None])
            names = objective.log_names(heard.features[heard.mask]).double().numpy()
        places = likeliest_path(names, space.text.parse(clip.words).numpy(), space.end)
        if places is None:
            continue
        loud = np.convolve(clip.wave**2, np.ones(RATE // 50), "same")
        gaps = [i for i, letter in enumerate(clip.words) if letter == " "]
        between = [(places[i - 1][1] * hop, (places[i + 1][0] + 1) * hop) for i in gaps]
        cuts = [a + int(loud[a:b].argmin()) for a, b in between]
        pairs.append(Words(clip, (0, *cuts, len(clip.wave))))
    return pairs


def likeliest_path(names: np.ndarray, ids: np.ndarray, blank: int) -> list[tuple[int, int]] | None:
    """The first and the last frame of each token on the likeliest path that spells a text.

    Args:
        names: log-probabilities of the tokens at each frame, ``(T, V)``.
        ids: the tokens of the text, ``(L,)``.
        blank: the id of the blank.

    Returns:
        ``L`` pairs, or ``None`` for a text with more tokens than there is room for.
    """
    states = np.full(2 * len(ids) + 1, blank)
    states[1::2] = ids
    skips = np.zeros(len(states), bool)  # from a token to the next one without a blank
    skips[3::2] = states[3::2] != states[1:-2:2]
    best, came = np.full(len(states), -np.inf), []
    best[:2] = names[0, states[:2]]
    for row in names[1:]:
        two = np.where(skips, np.roll(best, 2), -np.inf)
        options = np.stack([best, np.r_[-np.inf, best[:-1]], two])
        came.append(options.argmax(0))
        best = options.max(0) + row[states]
    at = len(states) - 1 - int(best[-2] > best[-1])
    if best[at] == -np.inf:
        return None
    path = [at]
    for steps in reversed(came):
        path.append(path[-1] - int(steps[path[-1]]))
    frames = np.array(path[::-1])
    return [(int(at[0]), int(at[-1])) for at in (np.flatnonzero(frames == 2 * i + 1) for i in range(len(ids)))]


def recorded(clips: Sequence[Spoken], cut: Sequence[Words], count: int, seed: int = 0) -> list[Spoken]:
    """Prompts at three speeds, and ``count`` rows of prompts, or of words cut out of them, with pauses between."""
    draw, short = random.Random(seed), [clip for clip in clips if len(clip.wave) <= LONGEST * RATE]
    whole = [at_speed(clip, speed) for clip in short for speed in (0.9, 1.0, 1.1)]
    rows, lengths = [], [len(clip.cuts) for clip in cut]
    for _ in range(count):
        row, seconds, share = [], draw.uniform(1, LONGEST), draw.choice([0, 0.8]) if cut else 0
        while (room := seconds - sum(len(clip.wave) / RATE + 0.3 for clip in row)) > 0.7 or not row:
            if draw.random() < share:
                words = draw.choices(cut, lengths)[0].some(draw)
                part = at_speed(words, draw.uniform(0.85, 1.15))
            else:
                part = draw.choice(whole)
            if len(part.wave) <= max(room, 1) * RATE:
                row.append(part)
        waves = [part for clip in row for part in (np.zeros(draw.randrange(2400), np.float32), clip.wave)][1:]
        rows.append(Spoken(" ".join(clip.words for clip in row), np.concatenate(waves), RATE, "row"))
    return [clip for clip in whole + rows if len(clip.wave) <= LONGEST * RATE]


def disturbed(clip: Spoken, draw: random.Random) -> Spoken:
    """In half of all cases with white noise, 15 to 40 dB below the sound; always at another loudness."""
    wave = clip.wave * (draw.uniform(0.1, 0.9) / np.abs(clip.wave).max())
    if draw.random() < 0.5:
        noise = np.random.default_rng(draw.getrandbits(32)).standard_normal(len(wave)).astype(np.float32)
        wave = wave + noise * wave.std() * 10 ** (-draw.uniform(15, 40) / 20)
    return clip._replace(wave=wave.clip(-1, 1))


def make(folder: Path, spoken: int, rows: int, aligner: Path | None = None, seed: int = 0) -> None:
    draw, clips = random.Random(seed), prompts(False)
    cut = aligned(aligner, clips) if aligner else []
    every = [clip for clip in synthetic(spoken, seed) if len(clip.wave) <= LONGEST * RATE]
    every = [disturbed(clip, draw) for clip in every + recorded(clips, cut, rows, seed)]
    seconds = sum(len(clip.wave) for clip in every) / RATE
    print(f"{speech_data.write(every, folder)}: {len(every)} clips, {seconds / 3600:.2f} hours")


# --- fit and score ----------------------------------------------------------------------------------------------------


def fit(folder: Path, run: Path, budget: str, size: str) -> None:
    """Train by the recipe of :mod:`fourfold`, with nothing changed, on all clips but one in 25."""
    import fourfold

    options = {"space": "lines", "fractions": (0.96, 0.02, 0.02)}
    fourfold.fit("autoregressive", folder, budget=budget, size=size, out=run, data_options=options, say=print)


def heard_by(folder: Path, test: Sequence[Spoken], beams: int, penalty: float, alignment: float | None) -> list[str]:
    """Lines by a model of this library: a run, or a published model through its adapter."""
    import fourfold

    model = fourfold.Run.load(folder, "cpu").model
    rate = model.space.given.rate
    waves = [clip.wave if clip.rate == rate else soxr.resample(clip.wave, clip.rate, rate) for clip in test]
    search = {"beams": beams, "penalty": penalty, "alignment": alignment}
    return [fourfold.transcribe(model, w.clip(-1, 1), **search).text for w in waves]


def heard_by_library(
    folder: Path, test: Sequence[Spoken], beams: int, penalty: float, alignment: float | None
) -> list[str]:
    """Lines of at most 30 s by CTranslate2, the published model's own library."""
    import ctranslate2
    import transformers

    model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="float32", intra_threads=2)
    names = [line.rstrip("\n") for line in (folder / "vocabulary.txt").open(encoding="utf-8")]
    prompt = [names.index("<|startoftranscript|>"), names.index("<|notimestamps|>")]
    hear = transformers.WhisperFeatureExtractor()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    texts = []
    for clip in test:
        wave = np.trim_zeros(soxr.resample(clip.wave, clip.rate, 16_000).clip(-1, 1))
        sound = ctranslate2.StorageView.from_array(hear(wave, sampling_rate=16_000, return_tensors="np").input_features)
        result = model.generate(sound, [prompt], beam_size=beams, length_penalty=penalty, max_length=448)[0]
        texts.append(tokenizer.decode(result.sequences_ids[0], skip_special_tokens=True))
    return texts


def report(
    system: str, beams: int, alignment: float | None, heard: Sequence[str], true: Sequence[str]
) -> dict[str, Any]:
    """One row of the results: errors in words and characters, by ``jiwer``, with intervals."""
    import jiwer

    from fourfold.metrics.words import error_rate

    heard = [said(text) for text in heard]
    words, letters = (error_rate(heard, true, unit) for unit in ("word", "character"))
    assert abs(words.value - jiwer.wer(true, heard)) < 1e-9
    assert abs(letters.value - jiwer.cer(true, heard)) < 1e-9
    exact = np.mean([a == b for a, b in zip(heard, true, strict=True)])
    return {
        "model": system,
        "beams": beams,
        "weight of the alignment": alignment,
        **{
            f"{unit} error rate": f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
            for unit, rate in (("word", words), ("character", letters))
        },
        "exact": f"{100 * exact:.1f} % of {len(true)}",
    }


def named(folder: Path) -> str:
    """A run in words, from its card; a published model is described by the name of its folder."""
    if not (folder / "card.json").is_file():
        return f"{folder.parent.name}, through the adapter"
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    steps = f"{card['steps']:,} steps of {card['training']['batch_size']}"
    return f"trained here on {card['data']['train']:,} clips, {card['budget']}, size {card['size']}, {steps}"


def score(given: argparse.Namespace) -> None:
    test = prompts(True)[: given.limit]
    systems = [(named(folder), heard_by, folder) for folder in (given.run, given.whisper) if folder]
    if given.whisper:
        systems.append((f"{given.whisper.parent.name}, by its own library", heard_by_library, given.whisper))
    rows = []
    for (system, hear, folder), beams in itertools.product(systems, given.beams):
        some = [clip for clip in test if hear is heard_by or len(clip.wave) < 30 * clip.rate]
        true = [clip.words for clip in some]
        for alignment in given.alignments if folder == given.run else [None]:
            begun = time.monotonic()
            heard = hear(folder, some, beams, given.penalty, alignment)
            rows.append(report(system, beams, alignment, heard, true))
            print(rows[-1], f"{time.monotonic() - begun:.0f} s", flush=True)
            for right, text in list(zip(true, heard, strict=True))[:12]:
                print(f"    {right[:55]:55} | {text[:55]}")
    write(rows, test, given.out)


def write(rows: Sequence[dict[str, Any]], test: Sequence[Spoken], out: Path) -> None:
    """Put rows into the results, in the place of those of the same systems and searches."""
    old = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.is_file() else []
    new = [list(row.values())[:3] for row in rows]
    vocabulary = set(" ".join(clip.words for clip in prompts(False)).split())
    every = " ".join(clip.words for clip in test).split()
    unknown = sum(word not in vocabulary for word in every)
    result = {
        "title": "Transcription of held-out prompts",
        "order": 7,
        "machine": f"{os.cpu_count()} cores, no GPU, beside other work",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seeds": 1,
        "command": "python benchmarks/transcription.py score RUN --whisper FOLDER",
        "rows": [*(row for row in old if list(row.values())[:3] not in new), *rows],
        "notes": [
            f"{len(test)} recordings with {len(every)} words, {unknown} of which are in no recorded prompt of "
            "training. The voice is that of the training set, the sentences are not. Training hears espeak-ng in 32 "
            "voices, and the other four fifths of the prompts: whole ones of at most 6 s, and words that an earlier "
            "run of 20 minutes has cut out of all (the run of 2,429 steps: none). Intervals: bootstraps.",
            "A search ranks texts by (1 - a) log p(text | sound) + a log p_ctc(text | sound), where a is the weight "
            "of the alignment; a = 0 is the model's own probability.",
        ],
    }
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("data")
    making.add_argument("folder", type=Path)
    making.add_argument("--spoken", type=int, default=4500, help="sentences of espeak-ng")
    making.add_argument("--rows", type=int, default=6000, help="rows of recorded prompts")
    making.add_argument("--aligner", type=Path, help="an earlier run, which finds words that rows are made of")
    fitting = commands.add_parser("fit")
    fitting.add_argument("folder", type=Path)
    fitting.add_argument("run", type=Path)
    fitting.add_argument("--budget", default="20m")
    fitting.add_argument("--size", default="s")
    scoring = commands.add_parser("score")
    scoring.add_argument("run", type=Path, nargs="?")
    scoring.add_argument("--whisper", type=Path)
    scoring.add_argument("--beams", type=int, nargs="+", default=[1, 8])
    scoring.add_argument("--penalty", type=float, default=0.0)
    scoring.add_argument("--alignments", type=float, nargs="+", default=[0.0, 0.3])
    scoring.add_argument("--limit", type=int)
    scoring.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.command == "data":
        make(given.folder, given.spoken, given.rows, given.aligner)
    elif given.command == "fit":
        fit(given.folder, given.run, given.budget, given.size)
    else:
        score(given)


if __name__ == "__main__":
    main()
