"""No text from outside steers the terminal."""

import json
import subprocess
import sys

import pytest

from fourfold.output.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, größer, 数据, \u00a0", "plain, größer, 数据, \u00a0"),
        ("\x1b]0;title\x07", "\\u001b]0;title\\u0007"),
        ("a\nb\tc\x7f\x9b", "a\\u000ab\\u0009c\\u007f\\u009b"),
        ("\u202eevil\u2069\u2028", "\\u202eevil\\u2069\\u2028"),
        ("bad\udcffname", "bad\\udcffname"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert printable(text) == shown
    printable(text).encode("utf-8")


def test_lines_may_be_kept():
    assert printable("a\nb\r\x1b", keep="\n") == "a\nb\\u000d\\u001b"


def test_json_keeps_its_meaning():
    value = {"quote": "".join(map(chr, range(0x2100))) + "\U000e0041"}
    text = printable(json.dumps(value, ensure_ascii=False, indent=1), keep="\n")
    assert json.loads(text) == value
    assert not {"\x1b", "\x7f", "\x9b", "\u202e"} & set(text)


def test_it_loads_nothing_heavy():
    code = "import sys, fourfold.output.printable; assert not {'torch', 'numpy', 'typer'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
