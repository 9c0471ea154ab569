import json

import numpy as np
import pytest
import torch
from PIL import Image

from captions import decode_captions
from fourfold.data import DataError, load

N = 30


def folder(path):
    path.mkdir()
    for i in range(N):
        Image.fromarray(np.full((4, 4, 3), i, dtype=np.uint8)).save(path / f"{i:02}.png")
    return path


def as_lines(pairs):
    return "\n".join(f"{name}\t{caption}" for name, caption in pairs) + "\n"


def as_csv(pairs):
    return "file,caption\n" + "".join(f'{name},"{caption}"\n' for name, caption in pairs)


def as_json(pairs):
    return "".join(json.dumps({"file_name": name, "text": caption}) + "\n" for name, caption in pairs)


PAIRS = [(f"{i:02}.png", f"number {i}, grün") for i in range(N)]
FORMS = {"captions.txt": as_lines, "captions.csv": as_csv, "captions.jsonl": as_json, "metadata.jsonl": as_json}


def matched(data):
    """Every image has the caption that names its value."""
    seen = {}
    for split in (data.train, data.validation, data.test):
        for x, caption in zip(split.x, decode_captions(split.cond), strict=True):
            seen[int(x[0, 0, 0])] = caption
    return seen == {i: f"number {i}, grün" for i in range(N)}


@pytest.mark.parametrize("name", FORMS)
def test_a_list_of_captions(tmp_path, name):
    path = folder(tmp_path / "images")
    (path / name).write_text(FORMS[name](PAIRS), encoding="utf-8")
    data = load(path, given="captions")
    assert matched(data)
    assert data.space.given.text.length - 1 == 128
    assert load(path).space.given is None
    assert load(path).train.cond is None


def test_a_file_beside_each(tmp_path):
    path = folder(tmp_path / "images")
    for name, caption in PAIRS:
        (path / name).with_suffix(".txt").write_text(f" {caption}\n", encoding="utf-8")
    data = load(path, given="captions")
    assert matched(data)
    assert data.digest != load(folder(tmp_path / "bare")).digest


def test_spaces_separate_where_there_is_no_tab(tmp_path):
    path = folder(tmp_path / "images")
    (path / "captions.txt").write_text("\n".join(f"{name}  {caption}" for name, caption in PAIRS), encoding="utf-8")
    assert matched(load(path, given="captions"))


def test_without_captions_there_is_nothing_to_be_conditional_on(tmp_path):
    with pytest.raises(DataError, match=r"sub-folder of its own, or add captions \(captions\.txt\)"):
        load(folder(tmp_path / "images"), given="captions")


FAULTS = {
    "missing": (as_lines(PAIRS[:-1]), r"29\.png: must have a caption, got none: add one"),
    "foreign": (
        as_lines([*PAIRS[:3], ("x.png", "x")]),
        r"captions\.txt, line 4: must name the file of one image beside it, got 'x\.png'",
    ),
    "twice": (as_lines([*PAIRS, PAIRS[0]]), r"captions\.txt, line 31: 00\.png must have one caption, got a second"),
    "empty": (as_lines([*PAIRS[:2], ("02.png", " ")]), r"captions\.txt, line 3: caption must be a text, got blanks"),
    "long": (as_lines([("00.png", "é" * 300)]), r"captions\.txt, line 1: caption must have at most 512 bytes, got 600"),
    "nothing": ("\n\n", r"captions\.txt: must hold a line for each image, got none"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_file_and_line(tmp_path, fault):
    content, message = FAULTS[fault]
    path = folder(tmp_path / "images")
    (path / "captions.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(path)


def test_other_faults(tmp_path):
    path = folder(tmp_path / "images")
    (path / "captions.txt").write_bytes(b"00.png\tred\n01.png\tgr\xfcn\n")
    with pytest.raises(DataError, match=r"captions\.txt, line 2, byte 20: must be UTF-8"):
        load(path)
    (path / "captions.txt").unlink()
    (path / "captions.jsonl").write_text('{"file": "00.png", "caption": "a"}\n{"file": "01.png"}\n')
    with pytest.raises(DataError, match=r"captions\.jsonl, line 2: must have a 'file' and a 'caption', got"):
        load(path)
    (path / "captions.jsonl").write_text("{nonsense\n")
    with pytest.raises(DataError, match=r"captions\.jsonl, line 1: must be JSON"):
        load(path)
    (path / "captions.csv").write_text(as_csv(PAIRS))
    with pytest.raises(DataError, match="must be the only file of captions"):
        load(path)


def test_a_table_of_captions_is_read_like_any_table(tmp_path):
    path = folder(tmp_path / "images")
    marked = as_csv(PAIRS).replace("file,caption", "file;caption").replace(".png,", ".png;")
    (path / "captions.csv").write_text("\ufeff" + marked.replace(", grün", ",\ngrün"), encoding="utf-8")
    assert matched(load(path, given="captions"))
    for content, message in (
        ("file,caption\n00.png,a red, round one\n", r"csv, row 1: has 3 cells, .* quote a cell that holds ','"),
        (
            "file,caption\n00.png,red\nxx.png,blue\n",
            r"csv, row 2: must name the file of one image beside it, got 'xx\.png'",
        ),
        ("file,title\n00.png,red\n", r"csv, row 1: must have a 'file' and a 'caption', got file, title"),
        ("file,caption\n", r"csv: must hold a line for each image, got none"),
    ):
        (path / "captions.csv").write_text(content)
        with pytest.raises(DataError, match=message):
            load(path)
    (path / "captions.csv").write_bytes(b"file,caption\n00.png,gr\xfcn\n")
    with pytest.raises(DataError, match="must be UTF-8"):
        load(path)


def test_images_without_a_caption_are_skipped_where_bad_ones_are(tmp_path):
    path = folder(tmp_path / "images")
    (path / "captions.txt").write_text(as_lines(PAIRS[:-2]), encoding="utf-8")
    data = load(path, given="captions", skip_bad=True)
    assert len(data.train) + len(data.validation) + len(data.test) == N - 2
    assert sum("has no caption" in line for line in data.skipped) == 2
    assert torch.isin(data.train.x[:, 0, 0, 0], torch.arange(N - 2)).all()
