"""Files that lie, never end or announce too much are refused in one short line that names them, before they are
read.
"""

import io
import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fourfold.data import DataError, load, memory
from fourfold.data.memory import free_memory, require

VECTORS = np.random.default_rng(0).normal(size=(40, 3))


def refusal(path, **arguments):
    with pytest.raises(DataError) as refused:
        load(path, **arguments)
    line = str(refused.value)
    assert path.name in line
    assert "\n" not in line
    assert len(line) < 500 + len(str(path))
    return line


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def little(monkeypatch):
    """A machine with 10 MB left."""
    monkeypatch.setattr(memory, "free_memory", lambda: 10_000_000)


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_a_member_that_is_no_array_is_named(tmp_path):
    assert "must hold arrays alone, got 'x'" in refusal(npz(tmp_path / "m.npz", x="abc"))
    assert "cannot be read" in refusal(npz(tmp_path / "m.npz", **{"x.npy": "abc"}))


def test_text_labels_with_impossible_characters_are_refused(tmp_path):
    labels = npy(np.array(["u", "v"] * 20))
    damaged = labels[:-4] + b"\xff\xff\xff\x7f"
    path = npz(tmp_path / "m.npz", **{"x.npy": npy(VECTORS), "y.npy": damaged})
    assert "labels must hold whole characters" in refusal(path)


def test_arrays_that_are_not_used_are_not_read(tmp_path, little):
    other = np.lib.format.header_data_from_array_1_0(np.zeros(1)) | {"shape": (10**12,)}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, other)
    members = {"x.npy": npy(VECTORS), "y.npy": npy(np.arange(40) % 2), "spare.npy": header.getvalue()}
    assert load(npz(tmp_path / "m.npz", **members)).space.dim == 3
    line = refusal(npz(tmp_path / "m.npz", **{"x.npy": header.getvalue()}))
    assert "must fit into 10 MB of free memory, got about 16,000.0 GB" in line


def test_many_names_are_not_all_listed(tmp_path):
    path = npz(tmp_path / "m.npz", **{f"a{i}.npy": "" for i in range(5000)})
    assert "and 4,988 more" in refusal(path)


def test_a_large_array_is_read_in_part(tmp_path, little):
    path = tmp_path / "big.npy"
    big = np.lib.format.open_memmap(path, "w+", np.float32, (3_000_000, 3))
    big[:] = np.arange(3_000_000)[:, None]
    del big
    assert "got about 108 MB" in refusal(path)
    data = load(path, limit=50)
    assert len(data.train) + len(data.validation) + len(data.test) == 50
    assert len(set(data.train.x[:, 0].tolist())) == len(data.train)
    assert data.train.x.max() > 1_000_000  # not merely the first ones
    assert torch.equal(load(path, limit=50).train.x, data.train.x)


def test_labels_keep_their_shares_in_a_part(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(2000.0).reshape(1000, 2), y=np.arange(1000) // 900)
    data = load(tmp_path / "a.npz", limit=100, given="labels")
    rows = torch.cat([data.train.x, data.validation.x, data.test.x])[:, 0] / 2
    labels = torch.cat([data.train.cond, data.validation.cond, data.test.cond])
    assert torch.equal(labels, (rows >= 900).long())
    assert labels.sum() == 10


# --- tables -----------------------------------------------------------------------------------------------------------


def test_rows_of_a_table_are_drawn_while_it_is_read(tmp_path, monkeypatch):
    from fourfold.data import delimited, tables

    monkeypatch.setattr(tables, "ROWS", 100)
    monkeypatch.setattr(delimited, "BLOCK", 3000)  # bytes
    frame = pd.DataFrame({"a": np.arange(5000), "b": np.arange(5000) ** 2 % 97, "kind": ["u"] * 2500 + ["v"] * 2500})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    parts = [load(tmp_path / name, limit=200, labels="kind", given="labels") for name in ("t.csv", "t.parquet")]
    assert parts[0].digest == parts[1].digest
    whole = torch.cat([parts[0].train.x, parts[0].validation.x, parts[0].test.x])
    assert len(whole) == 200
    assert 1500 < whole[:, 0].double().mean() < 3500  # from everywhere in the file
    assert torch.equal(whole[:, 1], whole[:, 0] ** 2 % 97)
    monkeypatch.setattr(delimited, "BLOCK", 5000)
    assert load(tmp_path / "t.csv", limit=200, labels="kind").digest == parts[0].digest


def test_a_fault_in_a_part_is_named_by_its_row_in_the_file(tmp_path, monkeypatch):
    from fourfold.data import delimited

    monkeypatch.setattr(delimited, "BLOCK", 1000)  # bytes
    lines = [f"{i},{i % 7}" for i in range(600)]
    lines[444] = "x,1"
    lines[450] = "1,nan"
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines]))
    assert "'x' in row 445" in refusal(tmp_path / "t.csv", limit=599, space="vectors")
    assert "'x' in row 445 is not a number and counts as missing" in load(tmp_path / "t.csv", limit=599).notes[0]
    lines[444] = "3,1"
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines]))
    assert "row 451, column b: must be a number, got a missing value" in refusal(
        tmp_path / "t.csv", limit=599, space="vectors"
    )


def test_large_tables_are_refused_before_they_are_read(tmp_path, little):
    frame = pd.DataFrame({"a": np.zeros(1_000_000)})
    frame.to_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    assert "got about 24 MB" in refusal(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 1_000_000)
    assert "must fit into 10 MB of free memory, got about 20 MB; give --limit" in refusal(tmp_path / "t.csv")


def test_a_line_without_end_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("1," * 600_000)
    assert "line 1: must have at most 1,048,576 characters" in refusal(tmp_path / "t.csv")


def test_labels_that_are_lists_are_refused(tmp_path):
    pd.DataFrame({"a": np.arange(30), "k": [[1, 2]] * 30}).to_parquet(tmp_path / "t.parquet")
    refusal(tmp_path / "t.parquet", labels="k")


def test_many_columns_are_not_all_listed(tmp_path):
    pd.DataFrame(VECTORS[:, :1].repeat(400, 1)).to_csv(tmp_path / "t.csv", index=False)
    assert "and 388 more" in refusal(tmp_path / "t.csv", labels="kind")


def test_quoted_headers_are_read(tmp_path):
    rows = "".join(f"{i % 9},{i % 7},{i % 3}\n" for i in range(30))
    (tmp_path / "t.csv").write_text('"a,b","two\nlines","\'=1+2"\n' + rows)
    assert load(tmp_path / "t.csv").space.columns == ("a,b", "two\nlines", "=1+2")


# --- text -------------------------------------------------------------------------------------------------------------


def test_a_text_takes_one_byte_for_each_character(tmp_path):
    (tmp_path / "t.txt").write_text("grün " * 100_000, encoding="utf-8")
    data = load(tmp_path / "t.txt")
    assert data.train.x.untyped_storage().nbytes() == 500_000
    assert data.space.show(data.train.x[:10]) == "grün grün "


def test_more_characters_take_two_bytes(tmp_path):
    text = "".join(map(chr, range(200, 700))) * 100
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    data = load(tmp_path / "t.txt", tokens="chars")
    assert data.train.x.dtype == torch.int16
    assert data.space.show(data.train.x) == text[: len(data.train)]


@pytest.mark.parametrize("character", ["a", "ü", "€", "😀"])
def test_a_limit_reads_no_more_of_a_text(tmp_path, character, little):
    size = len(character.encode())
    with (tmp_path / "t.txt").open("wb") as file:
        file.write((character * 100_000).encode())
        file.truncate(4_000_000_000)  # sparse: its end is never looked at
    data = load(tmp_path / "t.txt", limit=9_999, length=16)
    assert len(data.train) + len(data.validation) + len(data.test) == 9_999
    assert data.space.vocabulary == character
    assert size <= 4


# --- folders ----------------------------------------------------------------------------------------------------------


def png(width, height, mode=2):
    """A PNG that announces a size and holds nothing."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def folder(path, n=24):
    path.mkdir()
    for i in range(n):
        Image.fromarray(np.full((4, 4, 3), i, dtype=np.uint8)).save(path / f"{i:02}.png")
    return path


def test_an_image_that_announces_too_much_is_not_decoded(tmp_path):
    images = folder(tmp_path / "f")
    (images / "bomb.png").write_bytes(png(9, 16_777_224))
    assert "bomb.png: has 151 million pixels, more than 90 million" in refusal(images)
    assert "bomb.png" in load(images, skip_bad=True).skipped[0]


def test_the_pixels_of_a_folder_are_summed_before_decoding(tmp_path, little):
    images = tmp_path / "f"
    images.mkdir()
    for i in range(24):
        (images / f"{i}.png").write_bytes(png(500, 1000))
    line = refusal(images)
    assert "must fit into 10 MB of free memory, got about 44 MB; give --stream (in Python: stream=True)" in line
    assert "--limit, or --image-size 32" in line
    assert "cannot be read" in refusal(images, size=8)


def test_pipes_and_devices_are_refused(tmp_path):
    images = folder(tmp_path / "f")
    os.mkfifo(images / "pipe.png")
    assert "pipe.png: must be a regular file" in refusal(images)
    assert "pipe.png" in load(images, skip_bad=True).skipped[0]
    (images / "pipe.png").unlink()
    for endless in ("pipe", "zero"):
        os.mkfifo(images / "captions.txt") if endless == "pipe" else (images / "captions.txt").symlink_to("/dev/zero")
        with pytest.raises(DataError, match=r"captions\.txt: must be a regular file"):
            load(images)
        (images / "captions.txt").unlink()
    os.mkfifo(tmp_path / "t.txt")
    assert "must be a regular file or a folder" in refusal(tmp_path / "t.txt")


def test_captions_that_are_no_text_are_refused_by_line(tmp_path):
    images = folder(tmp_path / "f")
    (images / "captions.jsonl").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"captions\.jsonl, line 1"):
        load(images)
    (images / "captions.jsonl").write_text(json.dumps({"file": "00.png", "text": "\ud800"}))
    with pytest.raises(DataError, match=r"captions\.jsonl, line 1: .*lone surrogate"):
        load(images)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_memory_that_is_free_is_found(tmp_path, monkeypatch):
    assert 1e6 < free_memory() < 1e15
    require(1, "here")
    with pytest.raises(
        DataError, match=r"here: must fit into .* of free memory, got about 1,000,000,000\.0 GB; go away"
    ):
        require(1e18, "here", "go away")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "memory.max").write_text("500000\n")
    (tmp_path / "a" / "memory.current").write_text("200000\n")
    (tmp_path / "a" / "memory.stat").write_text("file 7\ninactive_file 50000\n")
    (inner / "memory.max").write_text("max\n")
    read = memory._text_of
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_text_of", lambda path: "0::/a/b\n" if path.name == "cgroup" else read(path))
    assert free_memory() == 350_000


@pytest.mark.parametrize("line", ["9:memory:/a/b", "4:cpu,memory:/a/b", "4:memory,cpu:/of/the/host"])
def test_memory_of_control_groups_of_version_1(tmp_path, monkeypatch, line):
    """The limit stands above the process's own group, which has none, or whose path is that outside a container."""
    inner = tmp_path / "memory" / "a" / "b"
    inner.mkdir(parents=True)
    limited = tmp_path / "memory" if line.endswith("host") else inner.parent
    (limited / "memory.limit_in_bytes").write_text("500000\n")
    (limited / "memory.usage_in_bytes").write_text("200000\n")
    (limited / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 50000\n")
    (inner / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (inner / "memory.usage_in_bytes").write_text("1000\n")
    read = memory._text_of
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    lines = f"12:pids:/c\n{line}\n3:hugetlb:/x\n0::/\n"
    monkeypatch.setattr(memory, "_text_of", lambda path: lines if path.name == "cgroup" else read(path))
    assert free_memory() == 350_000
