"""Differential privacy on census income, against published rows, and an audit by membership attacks.

    python benchmarks/privacy.py adult TRAIN.csv HELD_OUT.csv OUT      # trains for each epsilon, draws as many rows
    OTHER/python benchmarks/privacy.py judge TRAIN.csv HELD_OUT.csv OUT FILE.csv ...   # with mostlyai-qa
    python benchmarks/privacy.py canary --epsilon 4 inf      # shadow models with a canary 0 or 1 times

Published by MOSTLY AI for its samples of census income under differential privacy: 0.956, 0.950, 0.944 and 0.924 at
epsilon 10.9, 4.3, 3.4 and 1.6 (the mean of univariate and bivariate accuracy of mostlyai-qa). The learning rate is that
of the preset without privacy. A second one was tried on this table at epsilon 4.3. Such a choice is in no budget.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

EPSILONS = {10.9: 0.956, 4.3: 0.950, 3.4: 0.944, 1.6: 0.924}
DELTA = 1e-5
STEPS = 60
SHADOW_STEPS = 60


def adult(train: Path, out: Path, epsilons: list[float], steps: int) -> None:
    """Train for each epsilon and draw as many rows as there are."""
    import fourfold

    rows = len(pd.read_csv(train))
    for epsilon in epsilons:
        start = time.process_time()
        run = fourfold.fit(
            "autoregressive",
            train,
            private=f"epsilon={epsilon},delta={DELTA}",
            budget=f"{steps} steps",
            data_options={"fractions": (0.998, 0.001, 0.001)},
            out=out / f"run-{epsilon}",
            progress=False,
        )
        seconds = time.process_time() - start
        drawn = run.model.space.text(run.sample(rows, seed=1))
        drawn.to_csv(out / f"epsilon-{epsilon}.csv", index=False)
        record = {"processor_seconds": round(seconds, 1), **run.card["privacy"]}
        print(epsilon, json.dumps(record), flush=True)


def judge(train: Path, held_out: Path, files: list[Path], whole: bool) -> None:
    """The accuracy of samples by ``mostlyai-qa``."""
    from mostlyai import qa

    real = {"trn_tgt_data": pd.read_csv(train), "hol_tgt_data": pd.read_csv(held_out)}
    for file in files:
        _, metrics = qa.report(syn_tgt_data=pd.read_csv(file), **real, report_path=file.with_suffix(".html"))
        accuracy = metrics.accuracy
        record = metrics.model_dump() if whole else {"univariate": accuracy.univariate, "bivariate": accuracy.bivariate}
        record["published definition"] = round((accuracy.univariate + accuracy.bivariate) / 2, 4)
        print(file.name, json.dumps(record), flush=True)


def canary(epsilon: float, shadows: int, rows: int, steps: int) -> None:
    """A likelihood-ratio attack: models that learned the canary once, against models that did not.

    All other rows are the same, and the canary differs from them in each column, so nobody hides it. Half of the models
    of each kind set normal distributions of ``log p(canary)``, whose log-ratio is the score of the other half (Carlini
    et al. 2022, https://arxiv.org/abs/2112.03570). Batches hold all rows, so the training is one Gaussian mechanism,
    ``mu^2 = 1 / counts^2 + steps / noise^2``, of which no attack has a higher AUC than ``Phi(mu / sqrt(2))`` (Dong,
    Roth, Su 2022, https://arxiv.org/abs/1905.02383). Infinite epsilon: trained without a guarantee.
    """
    with tempfile.TemporaryDirectory() as folder:
        trained = [_shadow(epsilon, rows, steps, k, Path(folder)) for k in range(2 * shadows)]
    scores = np.array([score for score, _ in trained])
    inside, outside = (_log_ratio(part, scores[::2], scores[1::2]) for part in (scores[::2], scores[1::2]))
    auc = float((inside[:, None] > outside).mean() + (inside[:, None] == outside).mean() / 2)
    error = math.sqrt(auc * (1 - auc) / len(inside)) if 0 < auc < 1 else 3 / len(inside)
    record: dict[str, float] = {"epsilon": epsilon, "shadows": 2 * shadows, "auc": round(auc, 3)}
    record |= {"standard error of auc": round(error, 3), "tpr - fpr": round(_advantage(inside, outside), 3)}
    if math.isfinite(epsilon):
        privacy = trained[0][1]
        mu = math.sqrt(privacy["noise of counts"] ** -2 + privacy["steps"] * privacy["noise"] ** -2)
        record |= {"auc at most": round(float(norm.cdf(mu / math.sqrt(2))), 3)}
        record |= {"tpr - fpr at most": round(float(2 * norm.cdf(mu / 2) - 1), 3), "spent": privacy["spent"]}
    print(json.dumps(record), flush=True)


def _shadow(epsilon: float, rows: int, steps: int, k: int, folder: Path) -> tuple[float, dict[str, float]]:
    """The score of one model, and its card on privacy. Even ones learned the canary."""
    import fourfold

    names, levels = list("abcd"), [str(level) for level in range(4)]
    schema = folder / "schema.toml"
    schema.write_text("".join(f'[{name}]\nkind = "category"\ncategories = {levels}\n' for name in names))
    usual, row = (pd.DataFrame({name: [value] for name in names}) for value in ("0", "3"))
    data = pd.concat([row] * (k % 2 == 0) + [usual] * rows, ignore_index=True)
    reading = {"fractions": (0.9, 0.05, 0.05), "schema": schema}
    seeds = itertools.count(1000 * k)  # a split that has the canary among its training rows. All other rows are alike
    seed = next(s for s in seeds if k % 2 or bool((fourfold.load(data, seed=s, **reading).train.x == 3).any()))
    private = math.isfinite(epsilon)
    options = {"seed": seed, **reading} if not private else {"seed": seed, "fractions": reading["fractions"]}
    run = fourfold.fit(
        "autoregressive",
        data,
        private=f"epsilon={epsilon},delta={DELTA}" if private else None,
        public=schema if private else None,
        budget=f"{steps} steps",
        size="xs",
        batch_size=len(data),
        seed=k,
        data_options=options,
        progress=False,
        say=lambda line: None,
    )
    return float(run.model.log_prob(run.model.space.codes(row)).nats[0]), run.card.get("privacy") or {}


def _log_ratio(scores: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """The log-ratio of the second half of scores, by normal distributions of the first halves of both kinds."""
    half = len(scores) // 2
    fits = [norm(part[:half].mean(), max(part[:half].std(ddof=1), 1e-9)) for part in (inside, outside)]
    return fits[0].logpdf(scores[half:]) - fits[1].logpdf(scores[half:])


def _advantage(inside: np.ndarray, outside: np.ndarray) -> float:
    """The share of right answers among models with the canary less that of wrong ones, at the threshold 0."""
    return float((inside > 0).mean() - (outside > 0).mean())


def main() -> None:
    """Train, judge or attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["adult", "judge", "canary"])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--epsilon", type=float, nargs="*", default=list(EPSILONS))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--shadows", type=int, default=80, help="Models with the canary, and as many without it.")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--whole", action="store_true", help="Print all that mostlyai-qa measures.")
    options = parser.parse_args()
    if options.work == "adult":
        train, _, out = options.paths
        adult(train, out, options.epsilon, options.steps or STEPS)
    elif options.work == "judge":
        train, held_out, *files = options.paths
        judge(train, held_out, files, options.whole)
    else:
        for epsilon in options.epsilon:
            canary(epsilon, options.shadows, options.rows, options.steps or SHADOW_STEPS)


if __name__ == "__main__":
    main()
