import pytest
import torch

from fourfold.data import DataError, load, read_all
from fourfold.data.text import Corpus
from fourfold.spaces import Text

PROSE = "The quick brown fox jumps over the lazy dog. Größe, naïve, 𝄞!\n" * 200


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


def test_characters_return_in_order(tmp_path):
    (tmp_path / "t.txt").write_text(PROSE, encoding="utf-8")
    data = load(tmp_path / "t.txt", length=32)
    assert data.space == Text("".join(sorted(set(PROSE))), 32)
    assert data.space.show(whole(data)) == PROSE
    assert data.train.x.dtype == torch.uint8  # a byte for each of a hundred million characters
    assert len(data.train) == int(0.9 * len(PROSE))


def test_ninety_ten_by_position(tmp_path):
    (tmp_path / "t.txt").write_text(PROSE, encoding="utf-8")
    data = load(tmp_path / "t.txt", fractions=(0.9, 0.1))
    assert len(data.train) == int(0.9 * len(PROSE))
    assert torch.equal(data.validation.x, data.test.x)
    assert data.space.show(torch.cat([data.train.x, data.test.x])) == PROSE


def test_bytes_when_asked_or_when_there_are_too_many_characters(tmp_path):
    path = tmp_path / "t.md"
    path.write_text(PROSE, encoding="utf-8")
    data = load(path, tokens="bytes")
    assert data.space == Text("", 256)
    assert bytes(whole(data).tolist()) == PROSE.encode()
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300))) * 30
    path.write_text(many, encoding="utf-8")
    assert load(path).space.vocabulary == ""
    assert bytes(whole(load(path)).tolist()) == many.encode()
    assert load(path, tokens="chars").space.tokens == 300


def test_line_ends_become_one_and_the_byte_order_mark_goes(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbf" + b"one\r\ntwo\r\n" * 900)
    data = load(tmp_path / "t.txt")
    assert data.space.show(whole(data)) == "one\ntwo\n" * 900


def test_limit_takes_the_first_tokens(tmp_path):
    (tmp_path / "t.txt").write_text(PROSE, encoding="utf-8")
    data = load(tmp_path / "t.txt", limit=1000, length=16)
    assert data.space.show(whole(data)) == PROSE[:1000]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"", {}, "must hold text"),
        (b"  \n \n", {}, "must hold text"),
        (b"short", {}, "must have a window of 256 tokens, got 1 .*; give a longer text or a smaller length"),
        (b"ab\ncd\xff" * 2000, {}, "line 2, byte 5: must be UTF-8, got 0xff.*iconv.*--tokens bytes"),
        (b"text " * 2000, {"length": 0}, "length must be at least 2, got 0"),
        (b"text " * 2000, {"given": "labels"}, "no labels"),
        (b"text " * 2000, {"fractions": (0.99, 0.005, 0.005)}, "must have a window of 256 tokens"),
    ],
)
def test_bad_texts_are_refused(tmp_path, content, arguments, message):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "t.txt", **arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.zip", "got a packed file"),
        ("a.tar", "must be the header of a member"),
        ("a.pt", "must be text, .npy"),
        ("a.xls", "must be text, .npy"),
        ("a.png", "one image"),
    ],
)
def test_other_kinds_of_files_are_refused_by_name(tmp_path, name, message):
    (tmp_path / name).write_text(PROSE)
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


def test_what_is_no_file_is_refused():
    with pytest.raises(DataError, match="must be a regular file or a folder"):
        load("/dev/null")


def test_line_ends_of_every_system_are_one(tmp_path):
    text = ("one line\nand another\n\n" * 40).strip()
    ends = {"unix": "\n", "windows": "\r\n", "mac": "\r"}
    for name, end in ends.items():
        (tmp_path / f"{name}.txt").write_text(text.replace("\n", end), newline="")
    unix, windows, mac = (load(tmp_path / f"{name}.txt", length=8) for name in ends)
    assert torch.equal(unix.train.x, windows.train.x)
    assert torch.equal(unix.train.x, mac.train.x)
    assert unix.space == windows.space
    assert any("are read as" in note for note in windows.notes)
    assert not unix.notes
    read, _ = read_all(tmp_path / "windows.txt", unix.space)
    assert torch.equal(read.x, read_all(tmp_path / "unix.txt", unix.space)[0].x)
    split = [b"a\r", b"\nb\r", b"c"]  # between portions, too
    assert "".join(Corpus("name", lambda: iter(split)).parts()) == "a\nb\nc"
    assert load(tmp_path / "windows.txt", length=8, tokens="bytes").space.show(torch.tensor([13])) == "\r"
