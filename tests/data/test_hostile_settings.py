"""Settings and small files from anybody: bounded, regular, and named where they are refused."""

import io
import os
import tarfile
import time

import numpy as np
import pandas as pd
import pytest
import typer

from fourfold.cli.configfile import read_config
from fourfold.data import DataError, load
from fourfold.data.schema import read_schema
from fourfold.spaces import Tokenizer
from fourfold.spaces.columns import Numeric
from fourfold.tasks.given import code_of


@pytest.fixture
def endless(tmp_path):
    """Two files that never end."""
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    return [tmp_path / "pipe.toml", tmp_path / "zero.toml"]


def command():
    app = typer.Typer()
    app.command("fit")(lambda seed: None)
    group = typer.main.get_command(app)
    group.name = "fit"
    return group


def test_settings_are_read_from_regular_files_alone(endless):
    for path in endless:
        with pytest.raises(DataError, match=rf"{path.name}: cannot be read \(not a regular file\)"):
            read_schema(path)
        with pytest.raises(ValueError, match=rf"{path.name}: cannot be read \(not a regular file\)"):
            read_config(path, command())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("decimals = 1000000000", "decimals must be from 0 to 15, got 1000000000"),
        ("decimals = -1", "decimals must be from 0 to 15"),
        (f"resolution = {'9' * 400}", "resolution must be from 1e-300 to"),
        ("resolution = 0", "resolution must be from"),
        ("resolution = nan", "resolution must be from"),
        (f"missing = {'[' * 50_000}", "deep nesting|must be TOML"),
    ],
)
def test_numbers_of_a_schema_have_limits(tmp_path, line, words):
    (tmp_path / "s.toml").write_text(f'[age]\nkind = "number"\n{line}\n')
    with pytest.raises(DataError, match=rf"s\.toml.*({words})") as caught:
        read_schema(tmp_path / "s.toml")
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(("line", "words"), [(f"seed = {'9' * 40}", "below 2"), (f"seed = {'[' * 50_000}", "nested")])
def test_numbers_of_a_configuration_have_limits(tmp_path, line, words):
    (tmp_path / "c.toml").write_text(f"[fit]\n{line}\n")
    with pytest.raises(ValueError, match=rf"c\.toml.*{words}"):
        read_config(tmp_path / "c.toml", command())


@pytest.mark.parametrize("line", ["[" * 100_000, '{"text": "\\ud800"}'])
def test_documents_are_refused_by_line(tmp_path, line):
    (tmp_path / "d.jsonl").write_text('{"text": "hello"}\n' * 30 + line + "\n")
    with pytest.raises(DataError, match=r"d\.jsonl, line 31: "):
        load(tmp_path / "d.jsonl")


def test_a_tokenizer_is_learned_from_short_words():
    """Byte-pair encoding takes the square of the length of a word: 200,000 letters took beyond 30 s."""
    start = time.process_time()
    tokenizer = Tokenizer.learn("a" * 300_000, 300)
    assert time.process_time() - start < 20
    assert tokenizer.text(tokenizer.ids("aaaa")) == "aaaa"
    plain = "It was the best of times, it was the worst of times.\n" * 50
    assert Tokenizer.learn(plain, 290).file == Tokenizer.learn([plain], 290).file


@pytest.mark.parametrize("name", ["a.cls", "long"])
def test_labels_and_names_of_a_tar_have_limits(tmp_path, name):
    """A sparse file of 6 GB was read whole."""
    header = tarfile.TarInfo(name if name != "long" else "././@LongLink")
    header.type, header.size = b"L" if name == "long" else b"0", 6 << 30
    path = tmp_path / "s.tar"
    with path.open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate((6 << 30) + 512)
    with pytest.raises(DataError, match=r"s\.tar: labels and names must have at most 65,536 bytes, got 6,442,450,944"):
        load(path)


def test_an_infinite_bound_is_no_number():
    column = Numeric("age", "float64", False, ("",), resolution=1.0, low=0, high=99, decimals=0)
    with pytest.raises(ValueError, match="column age must be a number, got '1e999'"):
        code_of(column, "1e999", round)


def test_damaged_pages_of_a_shard_name_it(tmp_path):
    image = io.BytesIO()
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(image, format="PNG")
    frame = pd.DataFrame({"image": [image.getvalue() + bytes([i]) * 200 for i in range(40)], "label": range(40)})
    frame.to_parquet(tmp_path / "shard.parquet", compression="snappy")
    content = bytearray((tmp_path / "shard.parquet").read_bytes())
    content[100:400] = b"\xff" * 300
    (tmp_path / "shard.parquet").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"shard\.parquet: cannot be read \(.*\): write it again"):
        load(tmp_path / "shard.parquet")
