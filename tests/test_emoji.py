import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captions import decode_captions
from fourfold.data import DataError, describe, load
from fourfold.spaces import Images

PLACE = Path(__file__).parent.parent / "examples" / "emoji.py"
SPEC = importlib.util.spec_from_file_location("emoji_example", PLACE)
emoji = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = emoji  # dataclasses look their module up
SPEC.loader.exec_module(emoji)

TONES = ["1F3FB", "1F3FF"]


def entry(i, name, short, unified, subcategory="thing", tones=()):
    here = {"sheet_x": i % 8, "sheet_y": i // 8, "has_img_google": True, "has_img_twitter": True}
    record = {"name": name, "short_names": [short], "unified": unified, "subcategory": subcategory, **here}
    if tones:
        record["skin_variations"] = {tone: here | {"sheet_x": 7, "sheet_y": 7} for tone in tones}
    return record


def entries():
    records = [entry(i, f"THING {chr(65 + i)}", f"thing_{chr(97 + i)}", f"{0x1F600 + i:X}") for i in range(20)]
    records.append(entry(20, "MAN FARMER", "male-farmer", "1F468-200D-1F33E", tones=TONES))
    records.append(entry(21, "WOMAN FARMER", "female-farmer", "1F469-200D-1F33E", tones=[*TONES, "1F3FB-1F3FF"]))
    records.append(entry(22, "Japan Flag", "jp", "1F1EF-1F1F5", "country-flag"))
    records.append(entry(0, "SAME PICTURE", "same", "1F700"))  # drawn like the first one
    return records


def sheet(seed):
    """A sheet of 8 x 8 pictures of 64 pixels, each in a frame; the upper half of each is transparent."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((8 * 66, 8 * 66, 4), dtype=np.uint8)
    for i in range(64):
        y, x = i // 8 * 66 + 1, i % 8 * 66 + 1
        pixels[y : y + 64, x : x + 64, :3] = rng.integers(0, 256, 3)
        pixels[y + 32 : y + 64, x : x + 64, 3] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def packages(folder, content=None):
    for vendor in emoji.VENDORS:
        root = folder / f"emoji-datasource-{vendor}"
        (root / "img" / vendor / "sheets").mkdir(parents=True)
        (root / "img" / vendor / "sheets" / "64.png").write_bytes(sheet(len(vendor)))
        (root / "emoji.json").write_text(json.dumps(content or entries()))
        (root / "package.json").write_text('{"version": "1.2.3"}')
        (root / "LICENSE").write_text("MIT")
        (root / "README.md").write_text("emoji")
    return folder


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv("FOURFOLD_DATA", raising=False)
    monkeypatch.setattr(emoji, "CACHE", tmp_path / "cache")
    return tmp_path


def test_pictures_are_cut_out_and_seen_on_white(nowhere):
    data = emoji.load_emoji(packages(nowhere / "packages"))
    assert data.space == Images(3, 64, 64)
    assert all(word in data.source for word in ("1.2.3", "CC BY 4.0", "Apache-2.0"))
    for split in (data.train, data.validation, data.test):
        assert (split.x[:, :, :32] == 255).all()
        assert (split.x[:, :, 32:] == split.x[:, :, 32:33, :1]).all()
    assert sum(map(len, (data.train, data.validation, data.test))) == 2 * (20 + 3 + 3 + 2)
    assert data.train.cond is None


def test_captions_and_the_space_that_has_them(nowhere):
    data = emoji.load_emoji(packages(nowhere / "packages"), given="captions")
    assert data.space.given.text.length - 1 == emoji.CAPTION
    captions = {c for s in (data.train, data.validation, data.test) for c in decode_captions(s.cond)}
    assert {
        "thing a",
        "flag of japan",
        "man farmer, male farmer",
        "woman farmer, female farmer, dark skin tone",
    } <= captions
    assert not any("light" in c and "dark" in c for c in captions)
    assert data.digest == emoji.load_emoji(nowhere / "packages").digest
    assert "captions" in describe(data)


def test_variants_of_one_emoji_never_straddle_splits(nowhere):
    packages(nowhere / "packages")
    for seed in range(8):
        data = emoji.load_emoji(nowhere / "packages", given="captions", seed=seed)
        parts = [set(decode_captions(s.cond)) for s in (data.train, data.validation, data.test)]
        assert all(parts)
        for i in range(3):
            others = set.union(*(parts[j] for j in range(3) if j != i))
            assert not parts[i] & others  # both vendors
            assert not ({c for c in parts[i] if "farmer" in c} and {c for c in others if "farmer" in c})
            assert not ("thing a" in parts[i] and "same picture, same" in others)


def test_the_caption_says_what_is_seen():
    def said(name, *short, unified="1F600", subcategory="thing"):
        return emoji.captioned(
            {"name": name, "short_names": list(short), "unified": unified, "subcategory": subcategory}
        )

    assert said("BLACK TELEPHONE", "phone", "telephone") == "telephone, phone"
    assert said("BLACK HEART", "black_heart") == "black heart"
    assert said("HEAVY BLACK HEART", "heart", unified="2764-FE0F") == "red heart"
    assert said("Åland Islands Flag", "flag-ax", subcategory="country-flag") == "flag of åland islands"


def test_it_is_found_in_every_place(nowhere, monkeypatch):
    packages(nowhere / "project" / "node_modules")
    first = emoji.load_emoji(nowhere / "project").digest
    monkeypatch.setenv("FOURFOLD_DATA", str(nowhere / "project"))
    assert emoji.load_emoji().digest == first
    monkeypatch.delenv("FOURFOLD_DATA")
    packages(nowhere / "cache")
    assert emoji.load_emoji().digest == first


def test_refusals_name_the_way_out(nowhere):
    with pytest.raises(DataError, match=r"python examples/emoji\.py.*npm install.*--packages.*FOURFOLD_DATA"):
        emoji.load_emoji()
    with pytest.raises(DataError, match="does not exist"):
        emoji.load_emoji(nowhere / "absent")
    folder = packages(nowhere / "packages")
    (folder / "emoji-datasource-twitter" / "emoji.json").unlink()
    with pytest.raises(DataError, match="emoji-datasource-twitter is missing"):
        emoji.load_emoji(folder)
    (folder / "emoji-datasource-twitter" / "emoji.json").write_text("[{}]")
    with pytest.raises(DataError, match=r"not such a package.*fetch it again"):
        emoji.load_emoji(folder)
    (folder / "emoji-datasource-twitter" / "emoji.json").write_text(json.dumps([entry(640, "FAR", "far", "1F600")]))
    with pytest.raises(DataError, match="do not hold 81 rows"):
        emoji.load_emoji(folder)
    package = packages(nowhere / "one", [entry(i, "MAN", "man", "1F468", tones=["1F3FB"]) for i in range(20)])
    with pytest.raises(DataError, match=r"groups of variants must be at least .*, got 1"):
        emoji.load_emoji(package)


# --- fetching ---------------------------------------------------------------------------------------------------------


def npm(folder, body):
    """A stand-in for npm."""
    path = folder / "npm"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def archives(folder):
    packages(folder / "made")
    for vendor in emoji.VENDORS:
        name = f"emoji-datasource-{vendor}"
        with tarfile.open(folder / f"{name}-{emoji.VERSION}.tgz", "w:gz") as packed:
            packed.add(folder / "made" / name, "package")
    return folder


def test_fetched_packages_are_found(nowhere):
    command = npm(nowhere, f'cp {archives(nowhere)}/"${{2%@*}}"-*.tgz .')
    assert emoji.fetch_emoji(npm=command) == emoji.CACHE
    assert emoji.load_emoji().digest == emoji.load_emoji(nowhere / "made").digest
    assert emoji.fetch_emoji(npm=command) == emoji.CACHE  # again, over what is there
    assert sorted(p.name for p in emoji.CACHE.iterdir()) == ["emoji-datasource-google", "emoji-datasource-twitter"]


def test_failures_to_fetch_are_clear(nowhere):
    with pytest.raises(DataError, match=r"npm-absent was not found: install Node\.js"):
        emoji.fetch_emoji(npm=str(nowhere / "npm-absent"))
    with pytest.raises(DataError, match=r"could not fetch.*ENOTFOUND.*network"):
        emoji.fetch_emoji(npm=npm(nowhere, "echo ENOTFOUND >&2; exit 1"))
    with pytest.raises(DataError, match="is not the requested package"):
        emoji.fetch_emoji(npm=npm(nowhere, f"echo x > emoji-datasource-google-{emoji.VERSION}.tgz"))
    with pytest.raises(DataError, match=r"python examples/emoji\.py"):
        emoji.load_emoji()


def test_shards_hold_every_picture_with_its_caption_in_its_part(nowhere, monkeypatch, capsys):
    parts = emoji.load_emoji(packages(nowhere / "packages"), given="captions")
    monkeypatch.setattr(sys, "argv", ["emoji.py", str(nowhere / "shards"), "--packages", str(nowhere / "packages")])
    emoji.main()
    assert "'flag of japan'" in capsys.readouterr().out
    back = load(nowhere / "shards", given="captions")

    def pairs(*splits):
        return sorted(
            (x.numpy().tobytes(), caption)
            for split in splits
            for x, caption in zip(split.x, decode_captions(split.cond), strict=True)
        )

    trained = back.streamed.batch(back.streamed.rows(0, 0, 0, back.examples))
    assert pairs(back.test) == pairs(parts.test)
    assert pairs(trained, back.validation) == pairs(parts.train, parts.validation)


def test_groups_join_pictures_that_look_alike():
    x = torch.arange(4).to(torch.uint8)[[0, 1, 0, 2]].reshape(4, 1, 1, 1)
    a, b, c, d = emoji._groups(["a", "b", "c", "b"], x).tolist()
    assert (a, b) == (c, d)
    assert a != b
