"""The scripts of others are those of their packages, to the byte."""

import hashlib
from pathlib import Path

STATIC = Path(__file__).parents[2] / "src" / "fourfold_web" / "static"
DIGESTS = {
    "d3.js": "54a2bfe188376559b47c692965b46fb025158f83360220181176730b4bdbe261",
    "d3-LICENSE.txt": "2a6d2d5f32ba0b755ddbc1c833f766e30cdbe6ebe9a6d4e3e24427721f0b63d3",
}
"""SHA-256 of what ``tools/vendor.py`` builds."""


def test_vendored_scripts_are_unchanged():
    digests = {name: hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() for name in DIGESTS}
    assert digests == DIGESTS


def test_the_first_view_is_small():
    files = ["index.html", "style.css", "shell.js", "map.js", "icon.svg", "vendor/d3.js"]
    assert sum((STATIC / name).stat().st_size for name in files) < 400_000
