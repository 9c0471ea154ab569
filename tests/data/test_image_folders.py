import numpy as np
import pytest
import torch
from PIL import Image

from fourfold.data import DataError, describe, load
from fourfold.spaces import Images


def pixels(seed, height=6, width=5, channels=3):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def fill(folder, n=24, suffix="png", first=0, **shape):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.fromarray(pixels(first + i, **shape)).save(folder / f"{i:03}.{suffix}", **quality(suffix))
    return folder


def quality(suffix):
    return {"lossless": True} if suffix == "webp" else {}


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


@pytest.mark.parametrize("suffix", ["png", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_flat_folder_is_read_to_the_bit(tmp_path, suffix, channels):
    if suffix == "webp" and channels == 1:
        pytest.skip("WebP has no grey images")
    data = load(fill(tmp_path / "f", suffix=suffix, channels=channels))
    assert data.space == Images(channels, 6, 5)
    expected = {pixels(i, channels=channels).reshape(6, 5, channels).transpose(2, 0, 1).tobytes() for i in range(24)}
    assert {x.numpy().tobytes() for x in whole(data)} == expected
    assert data.train.cond is None


def test_jpeg_and_capital_suffixes(tmp_path):
    folder = fill(tmp_path / "f", suffix="jpg")
    (folder / "000.jpg").rename(folder / "zero.JPEG")
    assert whole(load(folder)).shape == (24, 3, 6, 5)


def test_sub_folders_are_classes(tmp_path):
    for k, name in enumerate(["cat", "dog", "eel"]):
        fill(tmp_path / "f" / name, n=30, first=100 * k)
    data = load(tmp_path / "f", given="labels")
    assert data.given.names == data.space.given.names == ("cat", "dog", "eel")
    for x, k in zip(data.train.x, data.train.cond.tolist(), strict=True):
        originals = {pixels(100 * k + i).transpose(2, 0, 1).tobytes() for i in range(30)}
        assert x.numpy().tobytes() in originals
    assert load(tmp_path / "f").space.given is None


def test_a_flat_folder_has_no_classes(tmp_path):
    with pytest.raises(DataError, match=r"must have labels.*sub-folder"):
        load(fill(tmp_path / "f"), given="labels")


def test_the_threads_keep_the_order(tmp_path):
    folder = fill(tmp_path / "f", n=300)
    assert load(folder).digest == load(folder, seed=8).digest
    index = {pixels(i).transpose(2, 0, 1).tobytes() for i in range(300)}
    assert {x.numpy().tobytes() for x in whole(load(folder))} == index


def test_limit_decodes_only_what_it_takes(tmp_path):
    folder = fill(tmp_path / "f", n=60)
    assert len(whole(load(folder, limit=25))) == 25


# --- what is brought to one form --------------------------------------------------------------------------------------


def test_odd_sizes_are_resized_to_that_of_most_and_it_is_said(tmp_path):
    folder = fill(tmp_path / "f")
    Image.fromarray(pixels(0, height=9, width=5)).save(folder / "odd.png")
    data = load(folder)
    assert data.space == Images(3, 6, 5)
    assert data.notes == (
        "resized 1 of 25 images to 6 x 5: for another size give --image-size 32 (in Python: size=32)",
    )
    assert data.record()["notes"] == list(data.notes)
    assert "note       resized 1 of 25" in describe(data)
    assert load(folder, size=4).notes == ()
    assert load(folder, size=4).space == Images(3, 4, 4)
    assert load(folder, size=(4, 7)).space == Images(3, 4, 7)


def test_resizing_cuts_evenly(tmp_path):
    # A white bar in the middle of a wide black image stays in the middle of a square.
    folder = tmp_path / "f"
    folder.mkdir()
    x = np.zeros((20, 60), dtype=np.uint8)
    x[:, 25:35] = 255
    for i in range(20):
        Image.fromarray(x).save(folder / f"{i}.png")
    small = load(folder, size=20).train.x[0, 0].float()
    assert torch.equal(small, small.flip(1))
    assert small[:, 9:11].eq(255).all()
    assert small[:, :4].eq(0).all()


def test_sizes_of_which_none_is_that_of_most_become_a_square(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    for i in range(30):
        Image.fromarray(pixels(i, height=100 + i, width=80 + 2 * i)).save(folder / f"{i}.png")
    data = load(folder)
    assert data.space == Images(3, 64, 64)
    assert "to 64 x 64 (108 is the median of their shorter sides, and 64 the most): for another size" in data.notes[0]
    Image.fromarray(pixels(0, height=9, width=50)).save(folder / "small.png")
    assert load(folder).space == Images(3, 64, 64)  # one small photo does not decide for all
    for i in range(40):
        Image.fromarray(pixels(i, height=20 + i, width=20 + 3 * i)).save(folder / f"more{i}.png")
    data = load(folder)
    assert data.space == Images(3, 54, 54)
    assert "to 54 x 54 (54 is the median of their shorter sides): for another size" in data.notes[0]


def test_mixed_channels_become_colour_and_it_is_said(tmp_path):
    folder = fill(tmp_path / "f")
    Image.fromarray(pixels(0, channels=1)).save(folder / "grey.png")
    data = load(folder)
    assert data.space == Images(3, 6, 5)
    assert data.notes == ("converted images to colour (1 grey): for grey give --channels 1 (in Python: channels=1)",)
    assert pixels(0, channels=1).tobytes() * 3 in {x.numpy().tobytes() for x in whole(data)}
    assert load(folder, channels=1).space == Images(1, 6, 5)
    assert load(folder, channels=3).space == Images(3, 6, 5)


def test_palettes_become_colours_and_transparency_is_seen_on_white(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    for i in range(20):
        Image.fromarray(pixels(i)).quantize(8).save(folder / f"{i}.png")
    assert load(folder).space.channels == 3
    clear = np.zeros((6, 5, 4), dtype=np.uint8)
    Image.fromarray(clear).save(folder / "clear.png")
    data = load(folder)
    assert "1 colour with transparency" in data.notes[0]
    assert any(x.eq(255).all() for x in whole(data))


def test_orientation_of_photographs_is_applied(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(20):
        Image.fromarray(pixels(i)).save(folder / f"{i}.png", exif=exif)
    assert load(folder).space == Images(3, 5, 6)


@pytest.mark.parametrize("arguments", [{"channels": 2}, {"size": 0}, {"size": (4, -1)}])
def test_impossible_conversions_are_refused(tmp_path, arguments):
    with pytest.raises(DataError, match=next(iter(arguments))):
        load(fill(tmp_path / "f"), **arguments)


# --- what is refused, or skipped and listed ---------------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("victim", ["000.png", "011.png"])
@pytest.mark.parametrize("damage", [truncate, lambda p: p.write_bytes(b""), lambda p: p.write_text("no image")])
def test_unreadable_images_are_named_or_skipped_and_listed(tmp_path, victim, damage):
    folder = fill(tmp_path / "f")
    damage(folder / victim)
    with pytest.raises(DataError, match=rf"{victim}: .*skip"):
        load(folder)
    data = load(folder, skip_bad=True)
    assert len(whole(data)) == 23
    assert len(data.skipped) == 1
    assert victim in data.skipped[0]
    assert data.record()["skipped"] == list(data.skipped)
    good = {pixels(i).transpose(2, 0, 1).tobytes() for i in range(24) if f"{i:03}.png" != victim}
    assert {x.numpy().tobytes() for x in whole(data)} == good


def test_skipping_keeps_labels_with_their_images(tmp_path):
    for k, name in enumerate("ab"):
        fill(tmp_path / "f" / name, first=100 * k)
    truncate(tmp_path / "f" / "a" / "003.png")
    data = load(tmp_path / "f", skip_bad=True, given="labels")
    for x, k in zip(data.train.x, data.train.cond.tolist(), strict=True):
        assert x.numpy().tobytes() in {pixels(100 * k + i).transpose(2, 0, 1).tobytes() for i in range(24)}


def test_images_of_more_than_8_bits_are_refused(tmp_path):
    folder = fill(tmp_path / "f")
    Image.fromarray(np.zeros((6, 5), dtype=np.uint16)).save(folder / "deep.png")
    with pytest.raises(DataError, match=r"deep.png: .*8 bits"):
        load(folder)


def test_another_format_under_an_image_suffix_is_refused(tmp_path):
    folder = fill(tmp_path / "f")
    Image.fromarray(pixels(0)).save(folder / "x.png", format="BMP")
    with pytest.raises(DataError, match=r"x.png: cannot be read as PNG, JPEG or WebP"):
        load(folder)


def test_empty_and_mixed_folders_are_refused(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    with pytest.raises(DataError, match="must hold PNG"):
        load(folder)
    (folder / "notes.pdf").write_text("x")
    with pytest.raises(DataError, match=r"only files like notes.pdf; give a folder of images, or .*notes.pdf itself"):
        load(folder)
    fill(folder)
    with pytest.raises(DataError, match=r"notes.pdf: must be an image"):
        load(folder)
    assert "notes.pdf" in load(folder, skip_bad=True).skipped[0]
    (folder / "sub").mkdir()
    with pytest.raises(DataError, match="must hold images or folders, got both"):
        load(folder)


def test_odd_class_folders_are_refused(tmp_path):
    fill(tmp_path / "f" / "a")
    (tmp_path / "f" / "b").mkdir()
    with pytest.raises(DataError, match="b: must hold the images of a class"):
        load(tmp_path / "f")
    fill(tmp_path / "f" / "b" / "c")
    with pytest.raises(DataError, match="b: must hold images directly, got the folder c"):
        load(tmp_path / "f")


def test_hidden_files_and_litter_are_passed_over(tmp_path):
    folder = fill(tmp_path / "f")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    assert load(folder).skipped == ()


def test_nothing_but_bad_images_is_refused(tmp_path):
    folder = fill(tmp_path / "f")
    for path in folder.iterdir():
        truncate(path)
    with pytest.raises(DataError, match=r"(got 24, none of which|examples must be at least 20, got 0)"):
        load(folder, skip_bad=True)


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(DataError, match="examples must be at least 20, got 3"):
        load(fill(tmp_path / "f", n=3))


def test_one_image_is_no_data_set(tmp_path):
    fill(tmp_path / "f", n=1)
    for space in (None, "images"):
        with pytest.raises(DataError, match="got one image: give its folder"):
            load(tmp_path / "f" / "000.png", space=space)
