"""The built-in sets: bundled with scikit-learn or Python, sampled, or Fashion-MNIST."""

from __future__ import annotations

import functools
import gzip
import math
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from fourfold.data.densities import Checkerboard, GaussianMixture
from fourfold.data.digits import read_digits
from fourfold.data.errors import DataError
from fourfold.data.readers import read
from fourfold.data.source import Source
from fourfold.data.text import Corpus, text_source
from fourfold.extensions import extensions
from fourfold.machine.libraries import sklearn
from fourfold.settings.data import DataOptions
from fourfold.spaces import Categories, Images, Vectors

__all__ = ["FILES", "builtin_sets"]

SAMPLED = 20_000
"""The number of examples that a sampled set draws, unless limited."""
PLANE = Vectors(2, ("x", "y"))
CACHE = Path("~/.cache/fourfold")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


# --- from scikit-learn ------------------------------------------------------------------------------------------------


def digits(options: DataOptions) -> Source:
    """1,797 grey images of handwritten digits, of 8 x 8 pixels of 17 values, in ten classes."""
    rows = torch.from_numpy(read_digits())
    x, labels = rows[:, :-1].view(-1, 1, 8, 8), rows[:, -1].long()
    names = tuple(str(i) for i in range(10))
    return Source(x, Images(1, 8, 8, n_values=17), "scikit-learn, load_digits", labels, Categories(names))


def breast_cancer(options: DataOptions) -> Source:
    """569 rows of 30 measurements of cell nuclei, in two classes."""
    return _bunch(sklearn.datasets.load_breast_cancer(), "scikit-learn, load_breast_cancer")


def wine(options: DataOptions) -> Source:
    """178 rows of 13 measurements of wines, in three classes."""
    return _bunch(sklearn.datasets.load_wine(), "scikit-learn, load_wine")


def _bunch(bunch: Mapping[str, np.ndarray], where: str) -> Source:
    x = torch.from_numpy(bunch["data"].astype(np.float32))
    labels = torch.from_numpy(bunch["target"].astype(np.int64))
    space = Vectors(x.shape[1], tuple(map(str, bunch["feature_names"])), len(x))
    return Source(x, space, where, labels, Categories(tuple(map(str, bunch["target_names"]))))


# --- a table ----------------------------------------------------------------------------------------------------------

FILES: Mapping[str, Path] = {"penguins": Path(__file__).with_name("penguins.csv")}
"""The bundled files of tables, by the names of the sets."""


def penguins(options: DataOptions) -> Source:
    """344 rows of 8 columns with gaps: species, island, bill, flipper, mass, sex and year of penguins.

    Source: Horst, Hill, Gorman 2020, palmerpenguins (CC0), https://doi.org/10.5281/zenodo.3960218.
    """
    source = read(FILES["penguins"], options)
    assert isinstance(source, Source)  # a small file lies in memory
    return source


# --- sampled ----------------------------------------------------------------------------------------------------------


def two_moons(options: DataOptions) -> Source:
    """20,000 points in the plane: two interleaved half circles of radius 1 with Gaussian noise of deviation 0.1."""
    n, generator = _draws(options)
    moon = torch.randint(2, (n,), generator=generator)
    angle = math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    noise = 0.1 * torch.randn(n, 2, generator=generator, dtype=torch.float64)
    x = torch.where(moon[:, None] == 0, upper, lower) + noise
    return Source(x.float(), PLANE, _sampled(options), moon, Categories(("upper", "lower")))


def pinwheel(options: DataOptions) -> Source:
    """20,000 points in the plane: five Gaussian arms, bent by an angle that grows with the distance."""
    n, generator = _draws(options)
    arm = torch.randint(5, (n,), generator=generator)
    radial, across = torch.randn(2, n, generator=generator, dtype=torch.float64) * torch.tensor([[0.3], [0.1]])
    radial = radial + 1
    angle = 2 * math.pi / 5 * arm + 0.25 * radial.exp()
    x = 2 * torch.stack([angle.cos() * radial - angle.sin() * across, angle.sin() * radial + angle.cos() * across], 1)
    return Source(x.float(), PLANE, _sampled(options), arm, Categories(tuple(f"arm {i}" for i in range(5))))


def eight_gaussians(options: DataOptions) -> Source:
    """20,000 points in the plane: eight equal Gaussians on a circle. The exact density is known."""
    angles = torch.arange(8, dtype=torch.float64) * math.pi / 4
    means = 2 * torch.stack([angles.cos(), angles.sin()], 1)
    return _mixture(GaussianMixture(torch.ones(8), means, 0.04 * torch.eye(2).expand(8, 2, 2)), options)


def gaussian_mixture(options: DataOptions) -> Source:
    """20,000 points in the plane: four unequal Gaussians. The exact density is known."""
    mixture = GaussianMixture(
        [0.35, 0.3, 0.2, 0.15],
        [[-2.0, -1.0], [1.5, 2.0], [2.5, -1.5], [-1.5, 2.5]],
        [[[0.5, 0.3], [0.3, 0.4]], [[0.8, -0.4], [-0.4, 0.3]], [[0.15, 0.0], [0.0, 0.9]], [[0.1, 0.05], [0.05, 0.1]]],
    )
    return _mixture(mixture, options)


def _mixture(mixture: GaussianMixture, options: DataOptions) -> Source:
    x, k = mixture.sample(*_draws(options))
    names = tuple(f"component {i}" for i in range(len(mixture.weights)))
    return Source(x.float(), PLANE, _sampled(options), k, Categories(names), density=mixture)


def checkerboard(options: DataOptions) -> Source:
    """20,000 points in the plane: uniform on the dark squares of a 4 x 4 board. The exact density is known."""
    board = Checkerboard()
    x, square = board.sample(*_draws(options))
    # Rounding to float32 must not carry a point over the edge of its square.
    x = torch.minimum(x.float(), (x / 2).floor().add(1).mul(2).float().nextafter(torch.tensor(-math.inf)))
    return Source(
        x, PLANE, _sampled(options), square, Categories(tuple(f"square {i}" for i in range(8))), density=board
    )


def _draws(options: DataOptions) -> tuple[int, torch.Generator]:
    return options.limit or SAMPLED, torch.Generator().manual_seed(options.seed)


def _sampled(options: DataOptions) -> str:
    return f"sampled with seed {options.seed}"


# --- text -------------------------------------------------------------------------------------------------------------


def python_docs(options: DataOptions) -> Source:
    """About 465 kB of English text: the help topics of the Python documentation."""
    from pydoc_data.topics import topics  # a module of 700 kB

    text = "\n\n".join(topics[key].strip("\n") for key in sorted(topics))
    corpus = Corpus("python-docs", lambda: iter([text.encode()]))
    return text_source(corpus, options, "Python, pydoc_data.topics")


# --- Fashion-MNIST ----------------------------------------------------------------------------------------------------

_FILES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def fashion_mnist(options: DataOptions) -> Source:
    """60,000 + 10,000 grey images of clothes of 28 x 28 pixels, in ten classes.

    Source: Xiao, Rasul, Vollgraf 2017, https://arxiv.org/abs/1708.07747.
    """
    folder = _find(options)
    train_x, train_y, test_x, test_y = (read_idx(folder / name) for name in _FILES)
    for part, images, y in (("train", train_x, train_y), ("t10k", test_x, test_y)):
        if images.shape[1:] != (28, 28) or y.shape != images.shape[:1] or int(y.max(initial=0)) > 9:
            raise DataError(
                f"{folder}: {part} labels must match images {images.shape}, got {y.shape}; fetch the files again"
            )
    x = torch.from_numpy(np.concatenate([train_x, test_x]))[:, None]
    labels = torch.from_numpy(np.concatenate([train_y, test_y]).astype(np.int64))
    space = Images(1, x.shape[2], x.shape[3])
    return Source(x, space, str(folder), labels, Categories(CLOTHES), test=len(test_x), held_out=1 / 12)


def read_idx(path: Path) -> np.ndarray:
    """Read an ``idx`` file of unsigned bytes, gzipped.

    Raises:
        DataError: if it is corrupt, or not such a file.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: must be a .gz file, got an error ({error}); fetch it again") from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path}: must be an idx file of unsigned bytes, got another header: fetch it again")
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    if len(content) != 4 + 4 * len(shape) + math.prod(shape):
        raise DataError(f"{path}: must hold the shape {shape} of its header, got {len(content)} bytes; fetch it again")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _find(options: DataOptions) -> Path:
    """The folder with the four files. The last resort is a download."""
    if options.data_dir is not None and not Path(options.data_dir).is_dir():
        raise DataError(
            f"data_dir must be a folder, got {options.data_dir}, which is missing; create it, or leave it out"
        )
    environment = os.environ.get("FOURFOLD_DATA")
    roots = [Path(root) for root in (options.data_dir, environment) if root]
    for root in roots:
        for folder in (root, root / "fashion-mnist", root / "FashionMNIST" / "raw"):
            if _complete(folder):
                return folder
    cached = CACHE.expanduser() / "FashionMNIST" / "raw"
    for folder in (DEBIAN, cached):
        if _complete(folder):
            return folder
    return _download((roots or [CACHE.expanduser()])[0])


def _complete(folder: Path) -> bool:
    """True if all four files are there. Some of them alone are refused."""
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing and len(missing) < len(_FILES):
        raise DataError(f"{folder}: must hold all files of Fashion-MNIST, got no {missing[0]}; fetch it too")
    return not missing


def _download(root: Path) -> Path:
    """Let torchvision fetch the files.

    Raises:
        DataError: if it is not installed or there is no network, naming all four ways.
    """
    try:
        from torchvision.datasets import FashionMNIST  # optional

        FashionMNIST(str(root), download=True)
    except ImportError:
        reason = "torchvision is not installed"
    except (OSError, RuntimeError) as error:
        reason = f"the download failed: {' '.join(str(error).split())[:200]}"
    else:
        return root / "FashionMNIST" / "raw"
    raise DataError(
        "fashion-mnist was not found. Either (1) put its four idx .gz files into a folder and pass it as data_dir "
        "(--data-dir), (2) or name that folder in the environment variable FOURFOLD_DATA, (3) or install the Debian "
        f"package dataset-fashion-mnist, which puts them into {DEBIAN}, (4) or install torchvision and load it with a "
        f"network ({reason})"
    )


_OWN: Mapping[str, Callable[[DataOptions], Source]] = {
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "two-moons": two_moons,
    "eight-gaussians": eight_gaussians,
    "pinwheel": pinwheel,
    "checkerboard": checkerboard,
    "gaussian-mixture": gaussian_mixture,
    "breast-cancer": breast_cancer,
    "wine": wine,
    "penguins": penguins,
    "python-docs": python_docs,
}


@functools.cache
def builtin_sets() -> Mapping[str, Callable[[DataOptions], Source]]:
    """Every built-in set by name: those of fourfold, then those of the entry-point group ``fourfold.sets``."""
    return {**_OWN, **{name: point.load() for name, point in extensions("fourfold.sets").items()}}
