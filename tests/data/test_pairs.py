"""Conditions: columns of a table, arrays, and files that pair by name or order."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_diabetes, load_wine

import fourfold
from fourfold.core import unknown
from fourfold.data import DataError, load, read_all
from fourfold.data.dataset import digest
from fourfold.settings.data import recorded
from fourfold.spaces import Categories, Images, Lines, Table, Together, Vectors
from fourfold.tournament.snapshot import load_snapshot, save_snapshot


def wine() -> pd.DataFrame:
    """178 rows of numbers and a word."""
    frame = load_wine(as_frame=True).frame
    return frame.assign(target=frame.target.map({0: "a", 1: "b", 2: "c"})).rename(columns={"target": "kind"})


def splits(dataset: fourfold.data.Dataset) -> list[fourfold.data.Split]:
    return [dataset.train, dataset.validation, dataset.test]


def pixels(folder: Path, names: list[str], side: int) -> None:
    """Grey images, each of one value: its place among the names."""
    folder.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(np.full((side, side), i, np.uint8)).save(folder / f"{name}.png")


def damaged(folder: Path) -> Path:
    """The folder, with one file that is no image."""
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


def assert_equal_pixels(dataset: fourfold.data.Dataset) -> None:
    for part in splits(dataset):
        assert part.cond is not None
        assert torch.equal(part.x[:, 0, 0, 0].short(), part.cond[:, 0, 0, 0])


# --- columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["alcohol,kind", ["kind", "alcohol"], "kind, alcohol"])
def test_columns_of_a_table_are_conditions_of_the_others(given):
    frame = wine()
    dataset = load(frame, given=given)
    assert isinstance(dataset.space, Table)
    assert isinstance(dataset.space.given, Table)
    assert dataset.space.given.columns == ("alcohol", "kind")
    assert dataset.space.columns == tuple(column for column in frame if column not in ("alcohol", "kind"))
    rows = {tuple(row) for row in frame[["malic_acid", "proline", "alcohol", "kind"]].itertuples(index=False)}
    for part in splits(dataset):
        both = pd.concat([dataset.space.table(part.x), dataset.space.given.table(part.cond)], axis=1)
        assert {
            tuple(row) for row in both[["malic_acid", "proline", "alcohol", "kind"]].itertuples(index=False)
        } <= rows
    assert sum(map(len, splits(dataset))) == len(frame)


def test_the_schema_of_conditions_is_that_of_training_rows_alone():
    frame = wine()
    dataset = load(frame, given="proline", keep_rare=True)
    given = dataset.space.given
    train = given.table(dataset.train.cond).proline
    assert given.modelled[0].span == tuple(
        given.codes(pd.DataFrame({"proline": [train.min(), train.max()]})).flatten().tolist()
    )
    assert train.min() > frame.proline.min() or train.max() < frame.proline.max()


def test_continuous_columns_are_vectors_given_vectors():
    values = np.random.default_rng(0).standard_normal((60, 4))
    dataset = load(pd.DataFrame(values, columns=list("abcd")), given="b")
    assert dataset.space == Vectors(3, ("a", "c", "d"), given=Vectors(1, ("b",)))
    train = torch.cat([dataset.train.x[:, :1], dataset.train.cond, dataset.train.x[:, 1:]], 1)
    places = [int((torch.tensor(values).float() == row).all(1).nonzero()) for row in train]
    assert len({*places}) == len(dataset.train)


def test_rest_stands_for_all_columns_but_the_target(tmp_path):
    wine().to_csv(tmp_path / "wine.csv", index=False)
    dataset = load(tmp_path / "wine.csv", given="rest", target="kind", limit=50)
    assert dataset.space.columns == ("kind",)
    assert len(dataset.space.given.columns) == 13
    assert sum(map(len, splits(dataset))) == 50


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("kind,alcohool", "'alcohool'.*did you mean 'alcohol'"),
        ("nothing.csv", "'nothing.csv'"),
        (",".join(wine().columns), "all 14"),
        ("rest", "--target"),
    ],
)
def test_columns_that_are_not_there_are_refused(given, words):
    with pytest.raises(DataError, match=words):
        load(wine(), given=given)


def test_a_new_table_is_split_by_the_names_of_its_columns(tmp_path):
    frame = wine()
    space = load(frame, given="kind,alcohol").space
    new = frame.iloc[:7][["kind", *(column for column in frame if column != "kind")]]
    new.to_csv(tmp_path / "new.csv", index=False)
    part, _ = read_all(tmp_path / "new.csv", space)
    assert torch.equal(part.x, space.codes(new))
    assert torch.equal(part.cond, space.given.codes(new))
    bare, _ = read_all(new.drop(columns=["kind", "alcohol"]), space)
    assert bare.cond is None
    assert torch.equal(bare.x, part.x)
    with pytest.raises(DataError, match="'alcohol' of the model's conditions"):
        read_all(new.drop(columns="alcohol"), space)


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 40])
def test_arrays_pair_by_order_in_every_split(limit):
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    for given in (2 * x, torch.tensor(2 * x), pd.DataFrame(2.0 * x)):
        dataset = load(x, given=given, limit=limit)
        assert sum(map(len, splits(dataset))) == (limit or 100)
        for part in splits(dataset):
            codes = part.cond if isinstance(dataset.space.given, Vectors) else dataset.space.given.numbers(part.cond)
            torch.testing.assert_close(2 * part.x, codes.float(), rtol=1e-4, atol=1e-3)


def test_one_number_or_text_for_each_example():
    x = np.arange(100, dtype=np.float32)[:, None] + [[0, 0.5]]
    number = load(x, given=x[:, 0])
    assert number.space.given == Vectors(1)
    assert torch.equal(number.train.x[:, :1], number.train.cond)
    text = load(x, given=[f"number {i}" for i in range(100)])
    assert isinstance(text.space.given, Lines)
    assert text.space.given.strings(text.test.cond) == [f"number {int(row[0])}" for row in text.test.x]


def test_whole_numbers_from_zero_that_recur_are_classes():
    x, y = np.random.default_rng(0).normal(size=(60, 2)).astype("float32"), np.arange(60) % 3
    data, labelled = load(x, given=y), load(x, labels=y, given="labels")
    assert data.space == labelled.space == Vectors(2, given=Categories.numbered(3))
    assert torch.equal(data.train.cond, labelled.train.cond)
    assert any("0 to 2 are classes" in note for note in data.notes)
    assert load(x, given=torch.from_numpy(y)).space == data.space
    for quantity in (y + 1, y.astype("float32"), np.arange(60)):
        assert load(x, given=quantity).space.given == Vectors(1)
    split, _ = read_all(x[:2], data.space, given=y[:2])
    assert split.cond.tolist() == [0, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_what_fit_takes_is_sampled_given_and_scored(channels):
    """Pictures whose channels come last, grey ones without channels, and single numbers, as arrays have them."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (24, 4, 4, channels), dtype=np.uint8)
    x = x[..., 0] if channels == 1 else x
    run = fourfold.fit("diffusion", x, given=x, budget="1 steps", size="xs", precision="float32")
    inner = torch.from_numpy(x)[:, None] if channels == 1 else torch.from_numpy(x).movedim(-1, 1)
    assert torch.equal(run.log_prob(x[:3], given=x[:3]).nats, run.log_prob(inner[:3], given=inner[:3]).nats)
    assert torch.equal(run.sample(3, given=x[:3]), run.sample(3, given=inner[:3]))
    assert torch.equal(run.sample(3, given=x[0]), run.sample(3, given=inner[:1]))
    theta = rng.normal(size=24).astype("float32")
    run = fourfold.fit("flow", rng.normal(size=(24, 2)), given=theta, budget="1 steps", size="xs", precision="float32")
    assert torch.equal(run.sample(3, given=theta[:3]), run.sample(3, given=theta[:3, None]))
    assert torch.equal(run.sample(2, given=float(theta[0])), run.sample(2, given=theta[:1]))


def test_an_array_of_an_npz_and_the_official_test_set(tmp_path):
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    np.savez(tmp_path / "one.npz", x=x, theta=x[:, 0])
    dataset = load(tmp_path / "one.npz", given="theta")
    assert torch.equal(dataset.train.x[:, :1], dataset.train.cond)
    np.savez(tmp_path / "x.npz", x_train=x[:70], x_test=x[70:])
    np.save(tmp_path / "c.npy", 2 * x)
    official = load(tmp_path / "x.npz", given=tmp_path / "c.npy")
    assert torch.equal(official.test.x, torch.tensor(x[70:]))
    assert torch.equal(official.test.cond, torch.tensor(2 * x[70:]))
    with pytest.raises(DataError, match=r"'thta'.*did you mean 'theta'"):
        load(tmp_path / "one.npz", given="thta")


def test_conditions_of_another_number_or_of_no_file_are_refused(tmp_path):
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DataError, match=r"100 in .*x\.npy and 60 in given"):
        load(tmp_path / "x.npy", given=x[:60])
    with pytest.raises(DataError, match="'nothing'"):
        load(x, given="nothing")
    with pytest.raises(DataError, match="stream"):
        load(tmp_path / "x.npy", given=x, stream=True, limit=50)
    with pytest.raises(DataError, match="must have labels"):
        load(x, given=[x, "labels"])
    with pytest.raises(ValueError, match="Dataset"):
        fourfold.fit("flow", load(x), given=x)
    with pytest.raises(ValueError, match="Dataset"):
        fourfold.compare(load(x), given=x)


def test_the_digest_covers_the_conditions():
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    data, another = load(x, given=x[:, :2]), load(x, given=x[:, 1:])
    assert data.digest == digest(torch.tensor(x), torch.tensor(x[:, :2]))
    assert len({data.digest, another.digest, load(x).digest}) == 3


# --- files ------------------------------------------------------------------------------------------------------------


def test_images_pair_by_name_whatever_their_order(tmp_path):
    names = [f"p{i}" for i in range(40)]
    pixels(tmp_path / "sharp", names, 8)
    pixels(tmp_path / "blurred", names, 4)
    for dataset in (
        load(tmp_path / "sharp", given=tmp_path / "blurred"),
        load(tmp_path / "sharp", given=tmp_path / "blurred", limit=30),
        load(tmp_path / "sharp", given=load(tmp_path / "blurred", size=2)),
    ):
        assert isinstance(dataset.space.given, Images)
        assert_equal_pixels(dataset)


def test_unpaired_files_are_named_or_skipped(tmp_path):
    names = [f"p{i}" for i in range(40)]
    pixels(tmp_path / "sharp", names, 8)
    pixels(tmp_path / "blurred", names, 4)
    for file in ("sharp/p3.png", "blurred/p7.png", "blurred/p8.png"):
        (tmp_path / file).unlink()
    with pytest.raises(DataError, match=r"39 and 38: p7.png .*1 more.*p3.png .*--skip-bad"):
        load(tmp_path / "sharp", given=tmp_path / "blurred")
    dataset = load(tmp_path / "sharp", given=tmp_path / "blurred", skip_bad=True)
    assert_equal_pixels(dataset)
    assert sum(map(len, splits(dataset))) == 37
    assert len(dataset.skipped) == 3
    with pytest.raises(DataError, match="by name"):
        load(np.random.default_rng(0).random((39, 2)), given=damaged(tmp_path / "sharp"), skip_bad=True)


def test_texts_pair_by_the_names_in_a_list_or_line_by_line(tmp_path):
    names = [f"p{i}" for i in range(40)]
    pixels(tmp_path / "images", names, 4)
    (tmp_path / "list.txt").write_text("".join(f"p{i}.png\tpicture {i}\n" for i in reversed(range(40))))
    (tmp_path / "lines.txt").write_text("".join(f"picture {i[1:]}\n" for i in sorted(names)))
    for file in ("list.txt", "lines.txt"):
        dataset = load(tmp_path / "images", given=tmp_path / file)
        texts = dataset.space.given.strings(dataset.train.cond)
        assert texts == [f"picture {value}" for value in dataset.train.x[:, 0, 0, 0].tolist()]
        turned = load(tmp_path / file, given=tmp_path / "images")
        assert isinstance(turned.space, Lines)
        assert [turned.space.show(ids) for ids in turned.train.x] == [
            f"picture {value}" for value in turned.train.cond[:, 0, 0, 0].tolist()
        ]


# --- what a run records -----------------------------------------------------------------------------------------------


def test_a_record_has_absolute_paths_and_no_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "age").touch()
    assert recorded("age") == str(tmp_path / "age")
    assert recorded("age", ["age"]) == "age"
    assert recorded(["age", "b"], ["age"]) == ["age", "b"]
    assert recorded([f"text {i}" for i in range(30)]) == recorded(np.zeros(3)) == "<data in memory>"


def test_a_run_finds_its_conditions_again_and_goes_on(tmp_path, monkeypatch):
    x = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "c.npy", x + 1)
    monkeypatch.chdir(tmp_path)
    run = fourfold.fit(
        "flow", "x.npy", given="c.npy", out="run", budget="2 steps", size="xs", precision="float32", progress=False
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = fourfold.Run.load(tmp_path / "run")
    assert again.dataset().digest == run.data.digest
    assert torch.equal(again.dataset().test.cond, run.data.test.cond)
    fourfold.fit(out=tmp_path / "run", resume=True, given=tmp_path / "c.npy", budget="3 steps", progress=False)
    with pytest.raises(ValueError, match="given"):
        fourfold.fit(out=tmp_path / "run", resume=True, given=tmp_path / "x.npy", budget="4 steps", progress=False)
    part, _ = again.examples(x[:5], given=x[:5] + 1)
    assert torch.equal(part.cond, torch.tensor(x[:5] + 1))
    test = again.test_set(x[:30], given=x[:30] + 1)
    assert torch.equal(test.test.cond, torch.tensor(x[:30] + 1))
    with pytest.raises(DataError, match="conditions of the model"):
        again.test_set(x[:30])


def test_a_snapshot_keeps_pairs(tmp_path):
    dataset = load(wine(), given="kind,alcohol")
    save_snapshot(dataset, tmp_path / "data.safetensors")
    again = load_snapshot(tmp_path / "data.safetensors")
    assert again.space == dataset.space
    assert torch.equal(again.train.cond, dataset.train.cond)


def test_a_published_table_is_read_from_a_file(tmp_path):
    frame = load_diabetes(as_frame=True).frame
    frame.to_csv(tmp_path / "diabetes.csv", index=False)
    dataset = load(tmp_path / "diabetes.csv", given="age,bmi")
    assert dataset.space.given.columns == ("age", "bmi")
    assert "age, bmi" in str(dataset)


# --- several ----------------------------------------------------------------------------------------------------------


def test_several_conditions_lie_side_by_side(tmp_path):
    frame = wine()
    names = [f"p{i:03}" for i in range(len(frame))]
    pixels(tmp_path / "photos", names, 4)
    frame.to_csv(tmp_path / "wine.csv", index=False)
    for given in (["kind", str(tmp_path / "photos")], {"kind": "kind", "photos": tmp_path / "photos"}):
        dataset = load(tmp_path / "wine.csv", given=given)
        space = dataset.space.given
        assert isinstance(space, Together)
        assert space.labels == ("kind", "photos")
        assert "kind" not in dataset.space.columns
        for part in splits(dataset):
            kinds, photos = space.split(part.cond)
            rows = photos[:, 0, 0, 0].long().numpy()  # a pixel is the number of its row
            assert space.parts[0].table(kinds).kind.tolist() == frame.kind.iloc[rows].tolist()
            shown = dataset.space.table(part.x).proline.to_numpy()
            assert (shown == frame.proline.iloc[rows].to_numpy()).all()
    part, _ = read_all(tmp_path / "wine.csv", dataset.space, given=tmp_path / "photos")
    kinds, photos = space.split(part.cond)
    assert photos[:, 0, 0, 0].tolist() == list(range(len(frame)))
    assert space.parts[0].table(kinds).kind.tolist() == frame.kind.tolist()
    with pytest.raises(DataError, match=r"2 conditions.* got 1"):
        read_all(frame.drop(columns="kind"), dataset.space, given=tmp_path / "photos")


def test_several_arrays_and_texts():
    x = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
    dataset = load(x, given={"shift": x + 1, "word": [f"number {i}" for i in range(60)]})
    space = dataset.space.given
    assert space.labels == ("shift", "word")
    shift, words = space.split(dataset.test.cond)
    torch.testing.assert_close(shift, dataset.test.x + 1)
    place = {tuple(row): i for i, row in enumerate(x.tolist())}
    assert space.parts[1].strings(words) == [f"number {place[tuple(row)]}" for row in dataset.test.x.tolist()]
    assert recorded({"shift": x, "word": "words.txt"}) == "<data in memory>"


def test_a_trained_model_reads_unknown_pixels_from_a_file(tmp_path):
    x = np.random.default_rng(0).integers(0, 17, (30, 1, 4, 4)).astype(np.uint8)
    holes = x.astype(np.int16)
    holes[:, :, 1:3, 1:3] = -1
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "holes.npy", holes)
    space = load(x, given=holes).space
    cond = fourfold.tasks.conditioning(space, tmp_path / "holes.npy").condition
    assert torch.equal(space.given.conditions(cond, 30), torch.from_numpy(holes))
    pairs, _ = read_all(tmp_path / "x.npy", space, given=tmp_path / "holes.npy")
    assert torch.equal(pairs.cond, torch.from_numpy(holes))
    assert torch.equal(pairs.x, torch.from_numpy(x))


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1)], ids=["channels first", "channels last"])
def test_pictures_with_unknown_pixels_are_conditions(axes):
    """-1 is a pixel that is unknown. A picture without any pixel is an unknown condition."""
    x = np.arange(40 * 3 * 5 * 6, dtype=np.uint8).reshape(40, 3, 5, 6)
    holes = x.astype(np.int16)
    holes[:, 1, 2:4, 1:3] = -1
    holes[0] = -1
    data = load(x, given=holes.transpose(axes))
    assert data.space.given == Images(3, 5, 6)
    for part in (data.train, data.validation, data.test):
        hidden = unknown(part.cond)
        pixels = part.cond[~hidden]
        assert torch.equal(pixels[:, 1, 2:4, 1:3], torch.full_like(pixels[:, 1, 2:4, 1:3], -1))
        assert (pixels[:, 0] == part.x[~hidden][:, 0]).all()
        assert torch.equal(hidden, (part.x == torch.from_numpy(x[0])).flatten(1).all(1))
    with pytest.raises(DataError, match=r"from -1 \(unknown\) to 255, got -6"):
        load(x, given=holes - 5)
    with pytest.raises(DataError, match="must be uint8, got int16"):
        load(holes)


# --- labels that lie with the data ------------------------------------------------------------------------------------


def test_labels_are_a_condition_beside_others(tmp_path):
    rng = np.random.default_rng(0)
    theta, kind = rng.standard_normal((90, 2)).astype(np.float32), np.arange(90) % 3
    x = theta[:, :1] + kind[:, None].astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=kind)
    np.save(tmp_path / "theta.npy", theta)
    data = load(tmp_path / "x.npz", given=[str(tmp_path / "theta.npy"), "labels"])
    assert data.space.given.labels == ("labels", "theta")
    for part in splits(data):
        label, numbers = data.space.given.split(part.cond)
        torch.testing.assert_close(part.x, numbers[:, :1] + label[:, None])
    np.savez(tmp_path / "new.npz", x=x[kind == 2], y=kind[kind == 2])
    np.save(tmp_path / "other.npy", theta[kind == 2])
    new, _ = read_all(tmp_path / "new.npz", data.space, given=["labels", str(tmp_path / "other.npy")])
    assert set(data.space.given.split(new.cond)[0].tolist()) == {2}


def test_the_word_for_labels_is_no_folder_of_this_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels(tmp_path / "labels", [f"p{i}" for i in range(30)], 4)
    pixels(tmp_path / "photos", [f"p{i}" for i in range(30)], 8)
    with pytest.raises(DataError, match="photos must have labels"):
        load("photos", given="labels")
    assert_equal_pixels(load("photos", given="./labels"))
    assert recorded("labels") == "labels"
