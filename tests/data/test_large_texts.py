"""A large text is tokenised once, by portions, into a file that is mapped; in memory or not, its ids are the same."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc

import pandas as pd
import pytest
import torch

from fourfold import fit
from fourfold.data import DataError, load, text
from fourfold.spaces import Tokenizer
from fourfold.spaces.tokenizer import portions

PROSE = "".join(f"{i}: Der Fuchs überquert die Straße, es ist {i * i} Uhr.\n" for i in range(9000))


@pytest.fixture
def large(monkeypatch, tmp_path):
    """Texts above 1,000 bytes are packed."""
    monkeypatch.setattr(text, "LARGE", 1000)
    return tmp_path / "cache"


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


@pytest.mark.parametrize("tokens", ["chars", "bytes", "bpe:400", "file"])
def test_a_mapped_text_is_the_text(tmp_path, monkeypatch, tokens):
    (tmp_path / "t.txt").write_text(PROSE, encoding="utf-8")
    if tokens == "file":
        tokens = tmp_path / "tokenizer.json"
        tokens.write_text(Tokenizer.learn(PROSE[:3000], 300).file)
    held = load(tmp_path / "t.txt", tokens=tokens)
    monkeypatch.setattr(text, "LARGE", 1000)
    mapped = load(tmp_path / "t.txt", tokens=tokens, data_dir=tmp_path / "cache")
    assert mapped.space == held.space
    assert (mapped.digest == held.digest) is (tokens != "bytes")
    assert torch.equal(whole(mapped), whole(held))
    assert whole(mapped).dtype == (torch.uint8 if held.space.tokens <= 256 else torch.int16)
    if tokens != "bytes":
        (file,) = (file for file in (tmp_path / "cache" / "tokens").iterdir() if file.suffix != ".json")
        assert file.stat().st_size == whole(mapped).nbytes
    assert mapped.space.show(whole(mapped)[:200]) == PROSE[: len(held.space.show(whole(held)[:200]))]


def test_bytes_are_mapped_where_they_are_and_not_all_read(tmp_path, large, monkeypatch):
    """Only pages that are looked at come into memory: a sparse file of a terabyte opens at once."""
    path = tmp_path / "t.txt"
    path.write_text(PROSE, encoding="utf-8")
    os.truncate(path, 10**12)
    data = load(path, tokens="bytes", length=16, data_dir=large)
    assert data.space.show(data.train.x[:98]) == PROSE.encode()[:98].decode()
    assert len(data.train.x) + len(data.validation.x) + len(data.test.x) == 10**12
    assert not large.exists()
    before, digest = whole(load(path, tokens="bytes", length=16, limit=500)), data.digest
    path.write_text("n" + PROSE[1:], encoding="utf-8")
    assert load(path, tokens="bytes", length=16).digest != digest
    assert before[0] == ord(PROSE[0])
    path.write_bytes(b"\n" * 2000)
    with pytest.raises(DataError, match="must hold text"):
        load(path, tokens="bytes", length=16)


def test_a_text_is_tokenised_once(tmp_path, large, monkeypatch):
    (tmp_path / "t.txt").write_text(PROSE, encoding="utf-8")
    first = load(tmp_path / "t.txt", tokens="bpe:300", data_dir=large)

    def never(*_):
        pytest.fail("tokenised again")
        yield

    monkeypatch.setattr(text, "ids_of", never)
    (tmp_path / "moved.txt").write_text(PROSE, encoding="utf-8")
    again = load(tmp_path / "moved.txt", tokens="bpe:300", data_dir=large)
    assert torch.equal(whole(again), whole(first))
    monkeypatch.undo()
    monkeypatch.setattr(text, "LARGE", 1000)
    (tmp_path / "t.txt").write_text(PROSE + "More.", encoding="utf-8")
    assert len(whole(load(tmp_path / "t.txt", tokens="bpe:300", data_dir=large))) > len(whole(first))


def test_a_file_that_was_not_finished_is_not_taken(tmp_path, large, monkeypatch):
    (tmp_path / "t.txt").write_text(PROSE, encoding="utf-8")
    real = text.ids_of

    def stopped(*arguments):
        yield next(real(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(text, "ids_of", stopped)
    monkeypatch.setattr(text, "AT_ONCE", 1000)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path / "t.txt", data_dir=large)
    assert list((large / "tokens").iterdir()) == []
    monkeypatch.setattr(text, "ids_of", real)
    data = load(tmp_path / "t.txt", data_dir=large)
    assert data.space.show(whole(data)) == PROSE


def test_a_mapped_text_is_trained_on_and_its_run_goes_on(tmp_path, large):
    (tmp_path / "t.txt").write_text(PROSE, encoding="utf-8")
    options = {"data_options": {"length": 16, "data_dir": str(large)}, "out": tmp_path / "run"}
    run = fit("autoregressive", tmp_path / "t.txt", budget="2 steps", size="xs", **options)
    assert run.data.train.x.dtype == torch.uint8
    again = fit(budget="3 steps", out=tmp_path / "run", resume=True)
    assert again.card["steps"] == 3


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, large, monkeypatch):
    (tmp_path / "t.txt").write_text(PROSE, encoding="utf-8")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 0, 10))
    with pytest.raises(DataError, match=r"free disk for the text, got .*; name another folder with --data-dir"):
        load(tmp_path / "t.txt", data_dir=large)
    assert list((large / "tokens").iterdir()) == []


def test_memory_does_not_grow_with_the_text(tmp_path, large, monkeypatch):
    monkeypatch.setattr(text, "AT_ONCE", 1 << 16)
    peaks = []
    for times in (4, 12):
        (tmp_path / "t.txt").write_text(PROSE * times, encoding="utf-8")
        tracemalloc.start()
        data = load(tmp_path / "t.txt", tokens="chars", data_dir=large)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(whole(data)) == 12 * len(PROSE)
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("kind", ["folder", "jsonl", "parquet", "csv"])
@pytest.mark.parametrize("tokens", ["chars", "bpe:300"])
def test_large_documents_are_read_by_portions_and_keep_their_ends(tmp_path, monkeypatch, kind, tokens):
    texts = [PROSE[i * 700 : (i + 1) * 700] for i in range(30)]
    options = {"tokens": tokens, "length": 16, "text": None if kind == "folder" else "body"}
    if kind == "folder":
        path = tmp_path / "texts"
        path.mkdir()
        for i, document in enumerate(texts):
            (path / f"{i:02d}.txt").write_text(document, encoding="utf-8")
    else:
        path = tmp_path / f"t.{kind}"
        frame = pd.DataFrame({"number": range(30), "body": texts})
        if kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")), encoding="utf-8")
        elif kind == "csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, row_group_size=7)
    held = load(path, **options)
    monkeypatch.setattr(text, "LARGE", 1000)
    monkeypatch.setattr(text, "AT_ONCE", 2000)
    mapped = load(path, data_dir=tmp_path / "cache", **options)
    assert torch.equal(whole(mapped), whole(held))
    assert mapped.digest == held.digest
    ids = whole(held)
    if tokens == "chars":
        assert held.space.show(ids) == "\n\n\n".join(texts)
    else:
        assert int((ids == held.space.tokenizer.end).sum()) == 30
        assert ids[-1] == held.space.tokenizer.end


def test_documents_that_look_like_gaps_are_texts(tmp_path):
    pd.DataFrame({"text": ["one two three. " * 20, "None", "", "NA"] * 10}).to_csv(tmp_path / "t.csv", index=False)
    data = load(tmp_path / "t.csv", text="text", length=16, tokens="chars")
    assert data.space.show(whole(data)).count("None") == data.space.show(whole(data)).count("NA") == 10


def test_a_table_of_texts_is_read_like_any_table(tmp_path):
    rows = "".join(f'{i};"one; two {i}"\n' for i in range(40))
    (tmp_path / "t.csv").write_text(f"id;text\n{rows}")
    data = load(tmp_path / "t.csv", text="text", length=16, tokens="chars")
    assert data.space.show(whole(data)).count("one; two") == 40
    (tmp_path / "t.csv").write_text("id,text\n1,one\n2,two, three\n")
    with pytest.raises(DataError, match=r"t.csv, row 2: has 3 cells, .* quote a cell that holds ','"):
        load(tmp_path / "t.csv", text="text", length=16)


def test_characters_cut_between_two_parts_and_bad_bytes_keep_their_place(tmp_path):
    lines = "ü€😀\n" * 120_000  # more than one part of a MiB
    (tmp_path / "t.txt").write_text(lines, encoding="utf-8")
    data = load(tmp_path / "t.txt", length=16)
    assert data.space.show(whole(data)) == lines
    content = lines.encode()
    (tmp_path / "t.txt").write_bytes(content[:1_100_000] + b"\xff" + content[1_100_000:])
    line = content[:1_100_000].count(b"\n") + 1
    with pytest.raises(DataError, match=f"line {line}, byte 1100000: must be UTF-8"):
        load(tmp_path / "t.txt")


def test_portions_end_with_lines_and_give_the_whole_text_whatever_the_parts():
    parts = [PROSE[i : i + 10_007] for i in range(0, len(PROSE), 10_007)]
    texts = list(portions(parts))
    assert texts == list(portions([PROSE]))
    assert "".join(texts) == PROSE
    assert all(text.endswith("\n") for text in texts)
    long = "word " * 500_000
    cut = list(portions([long[i : i + 99_991] for i in range(0, len(long), 99_991)]))
    assert "".join(cut) == long
    assert cut == list(portions([long]))
    assert max(map(len, cut)) <= 1 << 20
    assert all(text.endswith(" ") for text in cut)
