"""Which word was said: by Bayes' rule from a model of sounds given words, beside a classifier that learns nothing else.

    python benchmarks/bayes_words.py [--budget 300s] [--count 2000] [--out benchmarks/results/bayes-words.json]

The words are the ten digits as ``espeak-ng`` says them (``speech_data.py``): 16 voices train, and 16 others test.

    p(word | sound) = p(sound | word) p(word) / sum over words,    p(word) = 1/10

Two generative models give ``p(sound | word)``: one of the waveform, and one of 160 numbers, the loudness
of 16 mel bands in 10 parts of the word. Logistic regression learns ``p(word | numbers)`` from these. Each gives
accuracy and ``-log p(true word)`` in nats (log 10 = 2.30 for who knows nothing), with bootstrap intervals; and once
more with ``softmax(log p / T)``, where one number ``T`` is fitted to a tenth of the training clips that was held back.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import speech_data
import torch
from provenance import commit
from scipy.optimize import minimize_scalar
from torch import Tensor

import fourfold
from fourfold.spaces import Categories
from fourfold.tasks import class_probabilities, judge
from fourfold_speech.space import Audio
from fourfold_speech.spectra import log_mel

RATE, LENGTH = 8000, 7680


def clips(count: int, held_out: bool) -> tuple[Tensor, Tensor]:
    """Samples ``(n, LENGTH)`` int16 and digits ``(n,)``; longer clips are cut."""
    spoken = speech_data.digits(count, rate=RATE, held_out=held_out)
    x = torch.zeros(count, LENGTH, dtype=torch.int16)
    for row, clip in zip(x, spoken, strict=True):
        wave = torch.from_numpy(clip.wave[:LENGTH] / np.abs(clip.wave).max() * 20_000)
        row[: len(wave)] = wave.round().to(torch.int16)
    return x, torch.tensor([speech_data.DIGITS.index(clip.words) for clip in spoken])


def numbers(x: Tensor) -> Tensor:
    """The mean logarithm of the power of 16 mel bands in 10 equal parts of each word, ``(n, 160)``."""
    rows = []
    for clip in x:
        used = int((clip != 0).nonzero()[-1]) + 1
        mel = log_mel(clip[None, :used].float() / 32768, 16, 240, 80, RATE)[0].clamp(min=-14)
        rows.append(torch.nn.functional.adaptive_avg_pool1d(mel[None], 10)[0].flatten())
    return torch.stack(rows)


def tempered(p: Tensor, temperature: float) -> Tensor:
    return (p.clamp(min=1e-300).log() / temperature).softmax(1)


def fitted_temperature(p: Tensor, y: Tensor) -> float:
    """The ``T`` that makes held-back clips likeliest."""

    def loss(log_t: float) -> float:
        return float(-tempered(p, float(np.exp(log_t))).gather(1, y[:, None]).clamp(min=1e-300).log().mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 9), method="bounded").x))


def generative(x: Tensor, y: Tensor, space: fourfold.Space, budget: str, parts: list[Tensor]) -> list[Tensor]:
    """``p(word | x)`` of each part, from an autoregressive model of ``x`` given the word, with its default preset."""
    from fourfold.data import Dataset, Split

    held, fitted_rows = slice(0, len(x) // 10), slice(len(x) // 10, None)
    train, other = Split(x[fitted_rows], y[fitted_rows]), Split(x[held], y[held])
    data = Dataset("digits", space, train, other, other, "", "espeak-ng", given=Categories(speech_data.DIGITS))
    run = fourfold.fit("autoregressive/likelihood", data, budget=budget, size="s", precision="float32", say=print)
    return [class_probabilities(run.model, part) for part in parts]


def main() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="300s", help="training of each generative model")
    parser.add_argument("--count", type=int, default=2000, help="clips of training; a quarter as many are tested")
    parser.add_argument("--only-numbers", action="store_true", help="leave out the model of the waveform")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "bayes-words.json")
    given = parser.parse_args()
    (x, y), (x_test, y_test) = clips(given.count, False), clips(given.count // 4, True)
    held = given.count // 10
    f, f_test = numbers(x), numbers(x_test)
    scale = StandardScaler().fit(f[held:].numpy())
    f, f_test = (torch.from_numpy(scale.transform(part.numpy())).float() for part in (f, f_test))
    words = speech_data.DIGITS
    results = {}
    if not given.only_numbers:
        space = Audio(LENGTH, RATE, given=Categories(words))
        results["by Bayes, from the waveform"] = generative(x, y, space, given.budget, [x[:held], x_test])
    vectors = fourfold.Vectors(160, given=Categories(words))
    results["by Bayes, from 160 numbers"] = generative(f, y, vectors, given.budget, [f[:held], f_test])
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    logistic.fit(f[held:].numpy(), y[held:].numpy())
    parts = [torch.from_numpy(logistic.predict_proba(part.numpy())) for part in (f[:held], f_test)]
    results["logistic regression on the same"] = parts
    rows = []
    for name, (p, p_test) in results.items():
        temperature = fitted_temperature(p, y[:held])
        for label, q in ((name, p_test), (f"{name}, T = {temperature:.3g}", tempered(p_test, temperature))):
            scores = judge(label, q, y_test)
            (a, a0, a1), (n, n0, n1) = scores.accuracy, scores.log_loss
            row = {
                "p(word given sound)": label,
                "accuracy": f"{a:.1%} [{a0:.1%}, {a1:.1%}]",
                "nats of the true word": f"{n:.3f} [{n0:.3f}, {n1:.3f}]",
            }
            print(row, flush=True)
            rows.append(row)
    given.out.write_text(json.dumps(result(rows, given), indent=1) + "\n", encoding="utf-8")


def result(rows: list[dict[str, str]], given: argparse.Namespace) -> dict[str, Any]:
    return {
        "title": "Which digit was said: by Bayes' rule, and by a classifier",
        "order": 9,
        "machine": f"{os.cpu_count()} cores, no GPU, beside other work",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seeds": 1,
        "command": f"python benchmarks/bayes_words.py --budget {given.budget} --count {given.count}",
        "rows": rows,
        "notes": [
            f"{given.count} clips of 16 voices of espeak-ng train, {given.count // 4} of 16 others test. The numbers "
            "are the loudness of 16 mel bands in 10 parts of a word. T divides all log p and is fitted to clips held "
            "back; who knows nothing has 2.303 nats. These sound like training and are all named right, so T "
            "sharpens; the voices of the test differ, and T makes them worse. Intervals are bootstraps."
        ],
    }


if __name__ == "__main__":
    main()
