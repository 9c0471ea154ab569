import numpy as np
import pytest
import torch

from fourfold.data import DataError, load, splits
from fourfold.spaces import Images, Vectors

rng = np.random.default_rng(0)
VECTORS = rng.normal(size=(40, 3))
GREY = rng.integers(0, 256, (40, 6, 5), dtype=np.uint8)
COLOUR = rng.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(40) % 4


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


def saved(path, array):
    np.save(path / "a.npy", array)
    return path / "a.npy"


def packed(path, **arrays):
    np.savez(path / "a.npz", **arrays)
    return path / "a.npz"


def same_rows(x, expected):
    assert sorted(row.tobytes() for row in x.numpy()) == sorted(row.tobytes() for row in np.ascontiguousarray(expected))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", ">f8", "int32", "uint8", "bool"])
def test_vectors_of_any_real_dtype(tmp_path, dtype):
    array = (VECTORS > 0 if dtype == "bool" else VECTORS * 50 + 128).astype(dtype)
    data = load(saved(tmp_path, array))
    assert data.space == Vectors(3)
    assert data.train.x.dtype == torch.float32
    same_rows(whole(data), array.astype("float32"))


def test_column_major_arrays(tmp_path):
    same_rows(whole(load(saved(tmp_path, np.asfortranarray(VECTORS)))), VECTORS.astype("float32"))


@pytest.mark.parametrize(
    ("array", "channels_first"),
    [
        (GREY, GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (GREY[..., None], GREY[:, None]),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
        (GREY[:, None], GREY[:, None]),
    ],
)
def test_images_of_any_layout(tmp_path, array, channels_first):
    data = load(saved(tmp_path, array))
    assert data.space == Images(*channels_first.shape[1:])
    same_rows(whole(data), channels_first)
    data.space.check(data.train.x)


@pytest.mark.parametrize(
    ("shape", "space"),
    [
        ((20, 4, 4, 3), Images(3, 4, 4)),
        ((20, 3, 4, 4), Images(3, 4, 4)),
        ((20, 3, 32, 3), Images(3, 3, 32)),
    ],
)
def test_where_both_axes_may_be_channels_the_squarer_image_is_meant(tmp_path, shape, space):
    assert load(saved(tmp_path, np.zeros(shape, dtype=np.uint8))).space == space


def test_pixel_values(tmp_path):
    path = saved(tmp_path, GREY % 17)
    assert load(path, n_values=17).space == Images(1, 6, 5, n_values=17)
    binary = GREY % 2 == 1
    data = load(binary)
    assert data.space == Images(1, 6, 5, n_values=2)
    assert int(sum(split.x.sum() for split in (data.train, data.validation, data.test))) == binary.sum()
    with pytest.raises(DataError, match="values must be from 0 to 15, got 16; give --n-values 17"):
        load(path, n_values=16)


def test_npz_with_labels(tmp_path):
    for key, label in (("x", "y"), ("data", "target"), ("X", "labels")):
        data = load(packed(tmp_path, **{key: VECTORS, label: LABELS}), given="labels")
        assert data.space.given.names == ("0", "1", "2", "3")
        index = {row.tobytes(): k for row, k in zip(VECTORS.astype("float32"), LABELS, strict=True)}
        assert [index[row.numpy().tobytes()] for row in data.train.x] == data.train.cond.tolist()


def test_npz_with_named_arrays(tmp_path):
    path = packed(tmp_path, features=VECTORS, kind=np.array(["b", "a"] * 20))
    assert load(path, labels="kind", given="labels").given.names == ("a", "b")
    with pytest.raises(DataError, match="got the arrays features, kind"):
        load(path)
    with pytest.raises(DataError, match="one of features, kind, got 'sort'"):
        load(path, labels="sort")


def test_npz_with_an_official_test_set(tmp_path):
    path = packed(tmp_path, x_train=COLOUR[:30], y_train=LABELS[:30], x_test=COLOUR[30:], y_test=LABELS[30:])
    data = load(path, given="labels")
    assert torch.equal(data.test.x, torch.tensor(COLOUR[30:].transpose(0, 3, 1, 2)))
    assert data.test.cond.tolist() == LABELS[30:].tolist()
    assert len(data.train) + len(data.validation) == 30
    with pytest.raises(DataError, match="labels must be 40 and 40"):
        load(packed(tmp_path, x_train=COLOUR, y_train=LABELS[:30], x_test=COLOUR, y_test=LABELS))
    with pytest.raises(DataError, match="x_test must match"):
        load(packed(tmp_path, x_train=COLOUR, x_test=GREY))


def test_npy_with_a_file_of_labels(tmp_path):
    np.save(tmp_path / "y.npy", LABELS)
    data = load(saved(tmp_path, VECTORS), labels=tmp_path / "y.npy", given="labels")
    assert data.space.given.count == 4
    with pytest.raises(DataError, match=r"labels must be another .npy .* got .*nope"):
        load(saved(tmp_path, VECTORS), labels="nope.npy")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:39], r"shape \(40,\), one for each example, got \(39,\)"),
        (np.zeros((40, 2)), r"shape \(40,\), one for each example, got \(40, 2\)"),
        (LABELS + 0.5, "row 1: label must be a whole number or a name, got 0.5"),
        (np.where(LABELS == 1, np.nan, 0.0), "row 2: label must be a whole number or a name, got nan"),
        (np.arange(40), "labels must repeat, got 40 different ones for 40"),
    ],
)
def test_labels_that_do_not_match_are_refused(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        load(packed(tmp_path, x=VECTORS, y=labels))


def test_labels_may_be_a_column_floats_or_words(tmp_path):
    for labels in (LABELS[:, None], LABELS.astype(float), LABELS.astype(str), LABELS > 1):
        assert load(packed(tmp_path, x=VECTORS, y=labels), given="labels").space.given.count in (2, 4)


def test_unlabelled_arrays_cannot_be_conditional(tmp_path):
    with pytest.raises(DataError, match="must have labels to be conditional on, got none"):
        load(saved(tmp_path, VECTORS), given="labels")
    with pytest.raises(DataError, match="add an array 'y'"):
        load(packed(tmp_path, x=VECTORS), given="labels")


def with_value(value, row=7, column=1):
    array = VECTORS.copy()
    array[row, column] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (with_value(np.nan), r"a.npy, row 8, column 1: .* missing value \(NaN\)"),
        (with_value(np.inf), r"a.npy, row 8, column 1: must be a finite float32, got inf"),
        (with_value(1e300), r"row 8, column 1: must be a finite float32, got 1e\+300"),
        (with_value(0.0) * [1, 0, 1], "column 1 must vary"),
        (VECTORS.astype(complex), "must be real numbers, got complex128"),
        (np.array([["a", "b"]] * 30), "must be real numbers"),
        (np.zeros(40), "shape must be"),
        (np.zeros((3, 3, 3, 3, 3, 3)), "shape must be"),
        (np.array(3.0), "shape must be"),
        (GREY / 255, "images must be uint8, got float64"),
        (GREY.astype(int), "images must be uint8, got int64"),
        (np.zeros((40, 6, 5, 7), dtype=np.uint8), "with 1, 3 or 4 channels, got"),
        (np.zeros((40, 0, 5), dtype=np.uint8), "must have pixels"),
        (np.zeros((0, 3)), "a.npy"),
        (np.zeros((40, 0)), "a.npy"),
        (VECTORS[:3], "examples must be at least 20, got 3"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, array, message):
    with pytest.raises(DataError, match=message):
        load(saved(tmp_path, array))


def test_a_late_bad_row_is_named(tmp_path):
    array = np.zeros((200_000, 2), dtype=np.float32)
    array[150_000, 1] = np.nan
    with pytest.raises(DataError, match="row 150001, column 1"):
        load(saved(tmp_path, array))


class Trap:
    """Unpickling it would be noticed."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_nothing_is_unpickled(tmp_path):
    array = np.array([Trap()] * 3, dtype=object)
    np.save(tmp_path / "p.npy", array, allow_pickle=True)
    np.savez(tmp_path / "p.npz", x=array)
    (tmp_path / "q.npy").write_bytes(__import__("pickle").dumps(Trap()))
    for name in ("p.npy", "p.npz", "q.npy"):
        with pytest.raises(DataError, match=r"Python objects|cannot be read"):
            load(tmp_path / name)


def test_the_file_is_left_as_it_is(tmp_path, monkeypatch):
    path = saved(tmp_path, VECTORS.astype(np.float32))
    before = path.read_bytes()
    monkeypatch.setattr(splits, "LARGE", 0)
    data = load(path)
    data.train.x.add_(1)
    assert path.read_bytes() == before
