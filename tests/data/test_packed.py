"""Delimited files that are packed: read as the same file unpacked, refused by name where they are broken."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.cli import tables
from fourfold.data import DataError
from fourfold.data.packed import kind_of, stem_of
from fourfold.data.tables import raw_frame
from fourfold.data.writers import write_examples


def shop(n=80):
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"person_id": range(n), "town": rng.choice(["Köln", "Rome"], n), "size": rng.random(n)})
    bills = pd.DataFrame({"person_id": rng.integers(0, n, 2 * n), "total": rng.integers(1, 90, 2 * n)})
    return people, bills


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip", ".zip", ".TSV.GZ"])
def test_a_packed_table_is_the_table(tmp_path, ending):
    people, _ = shop()
    path = tmp_path / f"people{ending}"
    separator = "\t" if "TSV" in ending else ","
    packing = {"method": "zip", "archive_name": "people.csv"} if ending == ".zip" else "infer"
    packing = {"method": "gzip"} if "TSV" in ending else packing
    people.to_csv(path, index=False, sep=separator, compression=packing)
    people.to_csv(tmp_path / "plain.csv", index=False)
    packed, plain = fourfold.load(path), fourfold.load(tmp_path / "plain.csv")
    assert stem_of(path) == "people"
    assert packed.space == plain.space
    assert torch.equal(packed.train.x, plain.train.x)


def test_a_row_of_a_packed_file_is_named(tmp_path):
    path = tmp_path / "rows.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("a,b\n1,2\n3,4,5\n")
    with pytest.raises(DataError, match=r"rows.csv.gz, row 2: has 3 cells"):
        fourfold.load(path)
    with gzip.open(path, "wb") as file:
        file.write("a,b\nnoël,2\nx,3\n".encode("latin1"))
    with pytest.raises(DataError, match=r"rows.csv.gz.*must be UTF-8"):
        fourfold.load(path)


def test_what_cannot_be_unpacked_is_refused_by_name(tmp_path):
    path = tmp_path / "cut.csv.gz"
    content = gzip.compress(("a,b\n" + "".join(f"{i},{i * i % 97}\n" for i in range(5000))).encode())
    for part in (content[: len(content) // 2], b"a,b\n1,2\n", content[:-8] + b"12345678"):
        path.write_bytes(part)
        with pytest.raises(DataError, match=r"cut.csv.gz: cannot be unpacked"):
            fourfold.load(path)
    several = tmp_path / "several.csv.zip"
    with zipfile.ZipFile(several, "w") as archive:
        archive.writestr("a.csv", "x\n1\n")
        archive.writestr("b.csv", "x\n1\n")
    with pytest.raises(DataError, match=r"several.csv.zip: must hold one table, got 2 files: unpack it into a folder"):
        fourfold.load(several)
    with pytest.raises(DataError, match="packed file: unpack it first"):
        fourfold.load(several.rename(tmp_path / "several.zip"))
    assert kind_of(tmp_path / "model.npy.gz") == ".gz"


def test_a_packed_table_that_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "zeros.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"0,1\n" * 2_000_000))  # 8 MB in 20 KB
    monkeypatch.setattr("fourfold.data.memory.free_memory", lambda: 1 << 20)
    with pytest.raises(DataError, match=r"zeros.csv.gz"):
        raw_frame(path)


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.bz2", ".tsv.xz", ".csv.zip"])
def test_samples_are_packed_if_their_file_is_named_so(tmp_path, ending):
    path, plain = tmp_path / f"new{ending}", tmp_path / f"new{ending[:4]}"
    people, _ = shop()
    data = fourfold.load(people[["town", "size"]])
    write_examples(path, data.train.x, data.space)
    write_examples(plain, data.train.x, data.space)
    pd.testing.assert_frame_equal(raw_frame(path)[0], raw_frame(plain)[0])
    assert len(path.read_bytes()) < len(plain.read_bytes())


def test_numbers_and_filled_tables_are_packed_too(tmp_path):
    vectors = fourfold.load(np.random.default_rng(0).normal(size=(60, 2)))
    write_examples(tmp_path / "x.csv.gz", vectors.train.x, vectors.space)
    write_examples(tmp_path / "x.csv", vectors.train.x, vectors.space)
    assert gzip.decompress((tmp_path / "x.csv.gz").read_bytes()) == (tmp_path / "x.csv").read_bytes()
    tables._write(tmp_path / "y.csv.gz", shop()[1], header=True)
    filled = pd.read_csv(io.BytesIO(gzip.decompress((tmp_path / "y.csv.gz").read_bytes())))
    pd.testing.assert_frame_equal(filled, shop()[1])
