"""Data that stays in its files: every format gives the same rows, and the order is a function of the step."""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from fourfold.data import DataError, load
from fourfold.data.records import edges_of
from fourfold.data.stored import Streamed
from fourfold.data.tars import Tars

N = 120
X = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
X[:, 0, 0, 0] = np.arange(N)  # the first value tells which image it is
NAMES = ["cat", "dog", "owl"]


def png(i: int, x: np.ndarray = X) -> bytes:
    file = io.BytesIO()
    Image.fromarray(x[i]).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, rows: range, members=lambda i: {"png": png(i), "cls": str(i % 3).encode()}, **how) -> None:
    with tarfile.open(path, "w", **how) as tar:
        for i in rows:
            for ending, content in members(i).items():
                info = tarfile.TarInfo(f"{i:06d}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def table(rows: range) -> pa.Table:
    images = [{"bytes": png(i), "path": None} for i in rows]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    arrow = pa.table({"image": pa.array(images, kind), "label": pa.array([i % 3 for i in rows])})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": NAMES}}
    return arrow.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def as_npy(folder: Path) -> Path:
    np.save(folder / "labels.npy", np.arange(N) % 3)
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


def as_folder(folder: Path) -> Path:
    for i in range(N):
        place = folder / "images" / f"shard{i // 50}" / str(i % 3)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:06d}.png").write_bytes(png(i))
    return folder / "images"


def as_tars(folder: Path) -> Path:
    (folder / "tars").mkdir()
    for k in range(3):
        write_tar(folder / "tars" / f"{k:05d}.tar", range(40 * k, 40 * k + 40))
    return folder / "tars"


def as_parquet(folder: Path) -> Path:
    (folder / "parquet").mkdir()
    for k in range(2):
        pq.write_table(table(range(60 * k, 60 * k + 60)), folder / "parquet" / f"train-{k}.parquet", row_group_size=16)
    return folder / "parquet"


def as_arrow(folder: Path) -> Path:
    (folder / "saved").mkdir()
    rows = table(range(N))
    file = str(folder / "saved" / "data-00000-of-00001.arrow")
    with pa.OSFile(file, "wb") as opened, pa.ipc.new_stream(opened, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=25)
    return folder / "saved"


FORMATS = {"npy": as_npy, "folder": as_folder, "tar": as_tars, "parquet": as_parquet, "arrow": as_arrow}


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return FORMATS[request.param](tmp_path)


def streamed(path: Path, **options) -> Streamed:
    if options.get("given") and path.suffix == ".npy":
        options["labels"] = path.with_name("labels.npy")
    source = load(path, stream=True, **options).streamed
    assert source is not None
    return source


def identities(x: torch.Tensor) -> list[int]:
    return x[:, 0, 0, 0].tolist()


def test_every_format_gives_the_same_images_and_labels(path: Path) -> None:
    data = streamed(path, given="labels")
    batch = data.batch(np.arange(N))
    order = np.argsort(identities(batch.x))
    assert np.array_equal(batch.x.permute(0, 2, 3, 1).numpy()[order], X)
    assert batch.cond is not None
    assert batch.cond[torch.from_numpy(order)].tolist() == [i % 3 for i in range(N)]


def test_splits_are_disjoint_and_an_epoch_is_each_training_example_once(path: Path) -> None:
    data = load(path, stream=True)
    assert data.streamed is not None
    size = data.examples
    order, other = (
        np.concatenate([data.streamed.rows(7, epoch, i, min(i + 10, size)) for i in range(0, size, 10)])
        for epoch in (2, 3)
    )
    trained = identities(data.streamed.batch(order).x)
    held = identities(data.validation.x) + identities(data.test.x)
    assert sorted(trained + held) == list(range(N))
    assert set(identities(data.train.x)) <= set(trained)
    assert sorted(other) == sorted(order)
    assert other.tolist() != order.tolist()


def test_the_order_does_not_depend_on_what_was_asked_before(path: Path) -> None:
    source, other = streamed(path), pickle.loads(pickle.dumps(streamed(path)))
    source.rows(0, 5, 40, 50)
    assert source.rows(0, 0, 13, 31).tolist() == other.rows(0, 0, 13, 20).tolist() + other.rows(0, 0, 20, 31).tolist()
    assert torch.equal(source.batch(np.array([5, 2])).x, other.batch(np.array([5, 2])).x)


def test_small_blocks_are_pooled_and_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.data.arrays.BLOCK", 450)  # five images of 90 bytes
    monkeypatch.setattr("fourfold.data.stored.POOL", 1800)
    data = streamed(as_npy(tmp_path))
    assert len(data.edges) == N // 5 + 1
    rows = data.rows(0, 0, 0, len(data))
    first = rows[:12]
    assert len({row // 5 for row in first}) > 2  # several blocks
    assert len({row // 5 for row in rows[:16]}) <= 5  # of one pool of four, or the next
    assert sorted(set(rows.tolist()) | set(data.held_out.tolist())) == list(range(N))


def test_edges_cut_runs_of_about_so_many_bytes() -> None:
    assert edges_of(np.array([4, 4, 4, 4, 100, 1, 1]), 8).tolist() == [0, 2, 4, 5, 7]


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    path = as_tars(tmp_path)
    before = load(path).digest
    moved = path.rename(tmp_path / "elsewhere")
    assert load(moved).digest == before
    write_tar(moved / "00001.tar", range(41, 81))
    assert load(moved).digest != before


def test_a_limit_reads_into_memory_and_keeps_classes_in_their_share(path: Path) -> None:
    labels = {"labels": path.with_name("labels.npy")} if path.suffix == ".npy" else {}
    data = load(path, stream=True, limit=60, given="labels", **labels)
    assert data.streamed is None
    assert len(data.train) + len(data.validation) + len(data.test) == 60
    assert torch.cat([data.train.cond, data.validation.cond, data.test.cond]).bincount().tolist() == [20, 20, 20]


def test_test_shards_are_the_test_set(tmp_path: Path) -> None:
    for name, rows in (("test-0", range(80, N)), ("train-0", range(40)), ("train-1", range(40, 80))):
        write_tar(tmp_path / f"{name}.tar", rows)
    data = load(tmp_path)
    assert sorted(identities(data.test.x)) == list(range(80, N))
    assert data.examples + len(data.validation) == 80


def test_captions_are_read_with_their_images(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", range(N), lambda i: {"png": png(i), "txt": f"a picture of {i}".encode()})
    data = load(tmp_path, given="labels")
    assert data.space.given.text.length - 1 == 128
    batch = data.streamed.batch(np.array([3]))
    assert data.space.given.strings(batch.cond) == ["a picture of 3"]


def test_long_names_of_gnu_and_pax_tars_are_read(tmp_path: Path) -> None:
    for how in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{how}.tar"
        with tarfile.open(path, "w", format=how) as tar:
            for i in range(30):
                info = tarfile.TarInfo(f"{'long/' * 40}{i:03d}é.png")
                info.size = len(png(i))
                tar.addfile(info, io.BytesIO(png(i)))
        records = Tars(path, [path])
        assert len(records) == 30
        assert records.where(7).endswith("007é.png")
        assert records.read(np.array([7])) == [png(7)]


def test_images_of_several_sizes_become_one(tmp_path: Path) -> None:
    wide = np.zeros((N, 8, 9, 3), np.uint8)
    write_tar(tmp_path / "a.tar", range(N), lambda i: {"png": png(i, X if i % 2 else wide)})
    data = load(tmp_path / "a.tar")
    assert data.space.shape == (3, 6, 5)
    assert "resized" in data.notes[0]


# --- errors -----------------------------------------------------------------------------------------------------------


def refused(path: Path, *words: str, **options) -> None:
    with pytest.raises(DataError) as error:
        load(path, **options)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_tars_that_are_none_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "good.tar", range(40))
    whole = (tmp_path / "good.tar").read_bytes()
    write_tar(tmp_path / "text.tar", range(3), lambda i: {"json": b"{}"})
    refused(tmp_path / "text.tar", "text.tar: must hold PNG", "000002.json")
    (tmp_path / "cut.tar").write_bytes(whole[:600])
    refused(tmp_path / "cut.tar", "got one cut off at byte 600", "000000.png")
    (tmp_path / "odd.tar").write_bytes(whole[:10] + b"x" + whole[11:])
    refused(tmp_path / "odd.tar", "odd.tar, byte 0", "must be the header of a member")
    (tmp_path / "empty.tar").write_bytes(b"")
    refused(tmp_path / "empty.tar", "must hold PNG")
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.add(tmp_path / "good.tar")
    refused(tmp_path / "packed.tar", "compressed file", "unpack")


def test_a_missing_label_and_a_missing_column_are_named(tmp_path: Path) -> None:
    both = {"png": png(0), "cls": b"1"}
    write_tar(tmp_path / "a.tar", range(40), lambda i: {"png": png(i)} if i == 30 else both)
    refused(tmp_path / "a.tar", "a.tar, member 000030.png", ".cls", given="labels")
    folder = as_parquet(tmp_path)
    refused(folder, "train-0.parquet", "'digit'", "label", labels="digit")
    pq.write_table(table(range(5)).drop_columns("label"), folder / "train-2.parquet")
    refused(folder, "train-2.parquet: must have the column 'label'")


def test_a_broken_image_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", range(N), lambda i: {"png": b"broken" if i == 30 else png(i)})
    refused(tmp_path / "a.tar", "a.tar, member 000030.png", "cannot be read as PNG", "--skip-bad")
    numbers = np.arange(N, dtype=np.float32) + 0.5
    stand_in = load(tmp_path / "a.tar", skip_bad=True, given=numbers).streamed.batch(np.array([30]))
    assert identities(stand_in.x)[0] + 0.5 == stand_in.cond.item()  # its own condition, not that of the broken image
    data = load(tmp_path / "a.tar", skip_bad=True)
    batch = data.streamed.batch(np.array([30, 31]))
    assert identities(batch.x)[0] in identities(data.train.x)  # a stand-in
    assert identities(batch.x)[1] == 31


def test_an_image_of_another_size_is_named_when_it_comes(tmp_path: Path) -> None:
    data = load(as_folder(tmp_path), stream=True).streamed
    file = data.stored.records.files[17]
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(file)
    with pytest.raises(DataError, match=r"png: is 9 x 9, where others are 6 x 5: give --image-size 6"):
        data.batch(np.array([17]))


def test_values_that_are_none_are_named_by_row(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[41, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    refused(tmp_path / "x.npy", "row 42, column 2", stream=True)
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    refused(tmp_path / "x.npy", "Fortran", stream=True)


def test_what_cannot_be_streamed_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello world " * 100)
    refused(tmp_path / "a.txt", "stream must be left out for", stream=True)


def test_an_array_larger_than_the_memory_of_the_process_is_opened(tmp_path: Path) -> None:
    """2 GB of zeros, of which no byte is on the disk, in a process that may have 1 GB of its own."""
    with (tmp_path / "x.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (540_000, 32, 32, 4)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 540_000 * 4096)
    code = f"""
import resource, torch, fourfold
torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
data = fourfold.load({str(tmp_path / "x.npy")!r})
print(data.examples, "do not fit" in data.notes[0])
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["523616", "True"], ended.stderr


def test_streamed_examples_have_conditions_in_memory(tmp_path):
    """Columns beside images in shards, arrays beside an array, and files beside a folder: all pair as in memory."""
    folder = as_parquet(tmp_path)
    shards = sorted(folder.iterdir())
    for k, shard in enumerate(shards):
        rows = pq.read_table(shard)
        pq.write_table(rows.append_column("age", pa.array([60 * k + i + 0.5 for i in range(len(rows))])), shard)
    dataset = load(folder, given="age")
    assert dataset.streamed is not None
    assert dataset.space.given.columns == ("age",)
    batch = dataset.streamed.batch(np.arange(5, 9))
    assert dataset.space.given.table(batch.cond)["age"].tolist() == [5.5, 6.5, 7.5, 8.5]
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "c.npy", x[:, :2] + 1)
    streamed = load(tmp_path / "x.npy", given=tmp_path / "c.npy", stream=True)
    for part in (streamed.train, streamed.validation, streamed.test):
        assert torch.equal(part.x[:, :2] + 1, part.cond)
    with pytest.raises(DataError, match=r"as many conditions.* got 100 and 60"):
        load(tmp_path / "x.npy", given=x[:60], stream=True)
    with pytest.raises(DataError, match="'height'"):
        load(folder, given="height")
    other = tmp_path / "other"
    other.mkdir()
    for path in as_folder(tmp_path).rglob("*.png"):
        (other / f"a{path.name}").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="the same names in the same order"):
        load(tmp_path / "images", given=other, stream=True)
