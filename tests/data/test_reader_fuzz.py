"""Whatever a file holds, it is either loaded into finite data of its space or refused with one line that names it."""

import contextlib
import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fourfold.data import DataError, load, read_all
from fourfold.data.builtin import read_idx
from fourfold.spaces import Categories, Text, Vectors

often = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
seldom = settings(often, max_examples=40)


def attempt(path, reader, *arguments, **options):
    """What a reader makes of a file, or ``None`` where it refuses it in one short line with its name."""
    result = refused = None
    try:
        result = reader(path, *arguments, **options)
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert path.name in refused
        assert "\n" not in refused
        assert len(refused) < 500 + 2 * len(str(path))
    return result


def settle(path, **arguments):
    """Load or be refused properly; anything else is a failure."""
    data = attempt(path, load, **arguments)
    if data is None:
        return None
    if not isinstance(data.space, Text):
        for split in (data.train, data.validation, data.test):
            data.space.check(split.x)
    return data


def damaged(content: bytes):
    """A file with some bytes overwritten, cut out or cut off."""
    place = st.integers(0, len(content) - 1)

    def apply(edits, end):
        out = bytearray(content)
        for at, value in edits:
            out[at] = value
        return bytes(out[:end])

    return st.builds(
        apply, st.lists(st.tuples(place, st.integers(0, 255)), max_size=6), st.one_of(st.just(len(content)), place)
    )


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(compressed):
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, x=np.random.default_rng(0).normal(size=(30, 2)), y=np.arange(30) % 3)
    return file.getvalue()


def parquet():
    file = io.BytesIO()
    pd.DataFrame({"a": np.arange(30) * 0.5, "b": np.arange(30) ** 2, "k": ["u", "v"] * 15}).to_parquet(file)
    return file.getvalue()


def picture(kind):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, format=kind)
    return file.getvalue()


@often
@given(content=damaged(npy(np.random.default_rng(0).normal(size=(30, 2)))))
def test_npy(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.npy"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    settle(path)


@often
@given(content=st.one_of(damaged(npz(False)), damaged(npz(True))))
def test_npz(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.npz"
    path.write_bytes(content)
    settle(path)


@seldom
@given(content=damaged(parquet()), labels=st.sampled_from([None, "k", "a"]))
def test_parquet(tmp_path_factory, content, labels):
    path = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    path.write_bytes(content)
    settle(path, labels=labels)


cell = st.one_of(
    st.integers(-5, 5).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.sampled_from(["", "NA", "x", '"', "1,5", "true", "2020-01-01", "é", "\x00", "1e999", " 3 ", "0x10", "#"]),
)


@often
@given(
    rows=st.lists(st.lists(cell, min_size=1, max_size=3), max_size=4),
    separator=st.sampled_from([",", ";", "\t", " "]),
    labels=st.sampled_from([None, "a"]),
)
def test_csv_cells(tmp_path_factory, rows, separator, labels):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    good = [[str(i), str(i * i % 7)] for i in range(25)]
    path.write_text("\n".join(separator.join(row) for row in [["a", "b"], *rows, *good]), encoding="utf-8")
    settle(path, labels=labels)


@often
@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_csv_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    settle(path)


@often
@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda s: s.encode("utf-8", "replace"))))
def test_text(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.txt"
    path.write_bytes(content)
    data = settle(path, length=2)
    if data is not None and data.space.vocabulary:
        joined = data.space.show(torch.cat([data.train.x, data.validation.x, data.test.x]))
        assert joined == content.decode("utf-8-sig")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_images(tmp_path_factory, kind):
    folder = tmp_path_factory.mktemp(kind)
    for i in range(20):
        (folder / f"{i:02}.{kind.lower()}").write_bytes(picture(kind))

    @seldom
    @given(content=damaged(picture(kind)), skip=st.booleans(), victim=st.sampled_from([0, 10]))
    def settles(content, skip, victim):
        path = folder / f"{victim:02}.{kind.lower()}"
        path.write_bytes(content)
        settle(folder, skip_bad=skip)
        path.write_bytes(picture(kind))

    settles()


@often
@given(content=damaged(__import__("gzip").compress(b"\0\0\x08\2\0\0\0\3\0\0\0\2abcdef", mtime=0)))
def test_idx(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz-idx2-ubyte.gz"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert read_idx(path).dtype == np.uint8


def repacked(x, y):
    """An ``.npz`` whose check sums are right whatever its members hold."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        members.writestr("x.npy", x)
        members.writestr("y.npy", y)
    return file.getvalue()


@often
@given(x=damaged(npy(np.random.default_rng(0).normal(size=(30, 2)))), y=damaged(npy(np.array(["u", "v", "w"] * 10))))
def test_npz_damaged_inside(tmp_path_factory, x, y):
    path = tmp_path_factory.getbasetemp() / "inside.npz"
    path.write_bytes(repacked(x, y))
    settle(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.txt", b"00.png\ta cat\n01.png\tdog\n"),
        ("captions.csv", b'file,caption\n00.png,"a, b"\n'),
        ("captions.jsonl", b'{"file": "00.png", "text": "a \\u00e9"}\n'),
    ],
)
def test_captions(tmp_path_factory, name, content):
    folder = tmp_path_factory.mktemp("captions")
    for i in range(20):
        (folder / f"{i:02}.png").write_bytes(picture("PNG"))

    @seldom
    @given(content=damaged(content), skip=st.booleans())
    def settles(content, skip):
        (folder / name).write_bytes(content)
        settle(folder, skip_bad=skip)

    settles()


@often
@given(
    rows=st.lists(st.lists(cell, min_size=1, max_size=3), max_size=4),
    header=st.permutations(["a", "b", "k"]),
    separator=st.sampled_from([",", ";", "\t"]),
)
def test_tables_for_a_model(tmp_path_factory, rows, header, separator):
    """Every row is read into the columns of the model, or the file is refused."""
    path = tmp_path_factory.getbasetemp() / "model.csv"
    table = [header, *rows, ["1", "2", "3"]]
    path.write_text("\n".join(separator.join(row) for row in table), encoding="utf-8")
    space = Vectors(2, ("b", "a"), given=Categories(("1", "3")))
    outcome = attempt(path, read_all, space, labels="k")
    if outcome is None:
        return
    part = outcome[0]
    space.check(part.x)
    assert len(part) == len(part.cond) >= 1
    last = dict(zip(header, ["1", "2", "3"], strict=True))
    assert part.x[-1].tolist() == [float(last["b"]), float(last["a"])]
    assert space.given.names[part.cond[-1]] == last["k"]
