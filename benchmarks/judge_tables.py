"""Foreign scores of a synthetic table, by mostlyai-qa and lightgbm. Nothing of fourfold is imported.

    python judge_tables.py accuracy TRAIN SYNTHETIC FOLDER
    python judge_tables.py target HELD_OUT SYNTHETIC COLUMN VALUE FOLDER

``accuracy`` is that of mostlyai-qa. ``target`` is the AUC and the accuracy, on held-out rows, of lightgbm that
learned the target from synthetic ones: a fifth of these ends its training. Both write ``about.json`` into the folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd


def accuracy(train: str, synthetic: str) -> dict[str, float]:
    """Univariate and bivariate accuracy and the most that noise allows, by the functions of the report of mostlyai-qa.

    The report itself is slower, and its overall figure counts triples of columns since 2025.
    """
    from mostlyai.qa import _accuracy, _sampling

    real = _sampling.prepare_data_for_accuracy(df_tgt=pd.read_csv(train), setup="1:1")
    types = real.dtypes.to_dict()
    drawn = _sampling.prepare_data_for_accuracy(df_tgt=pd.read_csv(synthetic), setup="1:1", ori_dtypes=types)
    real, bins = _accuracy.bin_data(real, 10)
    drawn, _ = _accuracy.bin_data(drawn, bins)
    scores = {}
    for name in ("univariate", "bivariate"):
        accuracies = getattr(_accuracy, f"calculate_{name}s")(real, drawn)
        scores |= {
            name: float(accuracies["accuracy"].mean()),
            f"{name} at most": float(accuracies["accuracy_max"].mean()),
        }
    return scores


def target(held_out: str, synthetic: str, column: str, value: str) -> dict[str, float]:
    """Train on synthetic rows, test on held-out ones, as evaluate.ipynb of the published benchmark does."""
    import lightgbm
    from sklearn.metrics import accuracy_score, roc_auc_score
    from sklearn.model_selection import train_test_split

    (x, y), (x_test, y_test) = (features(pd.read_csv(path), column, value) for path in (synthetic, held_out))
    parts = train_test_split(x, y, test_size=0.2, random_state=1)
    train, stop = (lightgbm.Dataset(parts[i], label=parts[i + 2], free_raw_data=False) for i in range(2))
    settings = {"verbose": -1, "metric": "auc", "objective": "binary"}
    model = lightgbm.train(settings, train, valid_sets=[stop], callbacks=[lightgbm.early_stopping(5, verbose=False)])
    p = model.predict(x_test)
    return {"auc": float(roc_auc_score(y_test, p)), "accuracy": float(accuracy_score(y_test, p >= 0.5))}


def features(frame: pd.DataFrame, column: str, value: str) -> tuple[pd.DataFrame, pd.Series]:
    """Categories, then numbers; and whether the target has the value."""
    x = frame.drop(columns=column)
    x = x.astype(dict.fromkeys(x.select_dtypes("bool"), str))
    words = x.select_dtypes(exclude="number").astype("category")
    return pd.concat([words, x.select_dtypes("number").astype(float)], axis=1), (frame[column].astype(str) == value) * 1


if __name__ == "__main__":
    kind, arguments, folder = sys.argv[1], sys.argv[2:-1], sys.argv[-1]
    scores = (accuracy if kind == "accuracy" else target)(*arguments)
    (Path(folder) / "about.json").write_text(json.dumps(scores), encoding="utf-8")
