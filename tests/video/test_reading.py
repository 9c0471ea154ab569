import numpy as np
import pytest
import torch
from PIL import Image

from fourfold.data import DataError, load
from fourfold.data.writers import write_examples
from fourfold.spaces import Categories
from fourfold_video.metrics import motion_ratio
from fourfold_video.space import Video

SPACE = Video(3, 6, 5, frames=3)


def clips(space: Video, n: int = 30) -> torch.Tensor:
    return space.examples(n, torch.Generator().manual_seed(0))


def animation(path, frames, mode="L", size=(5, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    pictures = [Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)) for _ in range(frames)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("space", [SPACE, Video(9, 6, 5, frames=3)], ids=["grey", "colour"])
def test_a_folder_of_clips_is_read_as_it_was_written(tmp_path, space):
    x = clips(space)
    write_examples(tmp_path / "clips", x, space)
    data = load(str(tmp_path / "clips"), fractions=(0.8, 0.1, 0.1))
    assert data.space == space
    parts = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert {tuple(c.flatten().tolist()) for c in parts} == {tuple(c.flatten().tolist()) for c in x}


def test_an_array_of_five_axes_holds_clips(tmp_path):
    space = Video(9, 6, 5, frames=3)
    x = clips(space)
    np.save(tmp_path / "last.npy", space.stills(x).permute(0, 1, 3, 4, 2).numpy())
    np.save(tmp_path / "first.npy", space.stills(x).numpy())
    for name in ("last.npy", "first.npy"):
        data = load(str(tmp_path / name))
        assert data.space == space
        assert torch.equal(data.train.x[0], x[(x == data.train.x[0]).flatten(1).all(1)][0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 3, 3, 3, 3)), "images must be uint8, got float64"),
        (np.zeros((3, 1, 3, 3, 3), dtype=np.uint8), "clips must have at least 2 frames"),
        (np.zeros((3, 2, 3, 3, 4), dtype=np.uint8), "frames must have 1 or 3 channels, got 4"),
    ],
)
def test_bad_arrays_are_refused(array, message):
    with pytest.raises(DataError, match=message):
        load(array)


def test_clips_of_several_lengths_and_sizes_become_one_and_it_is_said(tmp_path):
    for i in range(24):
        animation(tmp_path / "ab"[i % 2] / f"{i}.gif", 4 if i else 3, size=(5, 6) if i > 1 else (10, 12))
    data = load(str(tmp_path), given="labels")
    assert data.space == Video(3, 6, 5, frames=3, given=Categories(("a", "b")))
    assert "cut 23 of 24 clips to 3 frames" in data.notes[0]
    assert "resized 2 of 24 clips to 6 x 5" in data.notes[1]


def test_a_picture_among_clips_is_refused_or_skipped(tmp_path):
    for i in range(25):
        animation(tmp_path / f"{i:02}.gif", 3)
    Image.new("L", (5, 6)).save(tmp_path / "still.png")
    with pytest.raises(DataError, match=r"still.png: must be an animation, got one picture .*: replace or remove it"):
        load(str(tmp_path))
    assert len(load(str(tmp_path), skip_bad=True).skipped) == 1


def test_an_animation_cut_short_is_refused(tmp_path):
    for i in range(25):
        animation(tmp_path / f"{i:02}.gif", 3)
    whole = (tmp_path / "07.gif").read_bytes()
    (tmp_path / "07.gif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"07.gif: .*replace or remove it"):
        load(str(tmp_path))


@pytest.mark.parametrize("channels", [2, 5])
def test_impossible_clips_are_refused(channels):
    with pytest.raises(ValueError, match="at least 2 frames of 1 or 3 channels each, got"):
        Video(channels, 4, 4, frames=4)


def test_an_animated_grid_shows_every_frame(tmp_path):
    x = clips(SPACE, 4)
    for name in ("grid.png", "grid.gif"):
        with Image.open(write_examples(tmp_path / name, x, SPACE)) as grid:
            assert grid.n_frames == 3
    with Image.open(tmp_path / "grid.png") as grid:
        grid.seek(2)
        scale = 64 // 6
        assert np.array_equal(np.asarray(grid.convert("RGB"))[: 6 * scale : scale, : 5 * scale : scale, 0], x[0, 2])


def test_motion_is_that_of_the_data_or_not():
    x = clips(SPACE, 200)
    still = x[:, :1].expand(-1, 3, -1, -1)
    assert motion_ratio(x, x, colours=1).value == pytest.approx(1)
    assert motion_ratio(still, x, colours=1).value == 0
    faster = torch.stack([x[:, 0], 255 - x[:, 0], x[:, 0]], 1)
    calm = torch.stack([x[:, 0], x[:, 0], x[:, 0] // 2], 1)
    assert motion_ratio(faster, calm, colours=1).value > 2


def test_the_autoregressive_probabilities_of_all_clips_sum_to_one():
    from fourfold.paradigms import build

    space = Video(2, 2, 2, n_values=2, frames=2)
    model = build("autoregressive", space, size="xs").eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    everything, _ = space.support(0, 0.0)
    assert len(everything) == 256
    assert model.log_prob(everything).nats.double().exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_a_model_of_clips_scores_a_folder_of_clips(tmp_path):
    import fourfold

    data = load("moving-digits", limit=40)
    run = fourfold.fit("diffusion", data, budget="1 steps", size="xs", out=tmp_path / "run", batch_size=2)
    write_examples(tmp_path / "clips", data.test.x, data.space)
    with pytest.raises(DataError, match=r"clips: pixel values must be from 0 to 16, got .* in image 0; raise n_values"):
        run.examples(tmp_path / "clips")  # files hold 256 values
