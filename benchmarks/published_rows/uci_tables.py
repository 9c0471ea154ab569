"""T6. 23 tables of the UCI repository by ForestDiffusion's protocol: that of ``small_tables.py``, without targets.

Files have the names of the repository, and lie in ``FOLDER/uci``. They are copies from public collections: those of
``biodeg.csv``, ``Concrete_Data.csv`` and ``car.data`` have a header and commas, unlike the repository's. An anchor
holds rows, columns and splits of each set against the published distance of its training rows. ``blood_transfusion``
and ``tictactoe`` are left out: copies of their files gave other distances (.1187 for .1085, 2.054 for 2.034).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.model_selection import train_test_split

from published_rows import Anchor, Line, Options, Row, located
from published_rows.small_tables import DRAWS, RECIPES, SPLITS, STEPS, lines, points, transport

TOLERANCE = 1.5e-3
"""A share of the distance. Ours exceed the published ones by up to 1.3 thousandths, and we do not know why."""


@dataclass(frozen=True)
class File:
    """A table of the repository.

    Attributes:
        name: its file.
        inputs: the columns that the protocol takes, without the target, as a slice.
        target: the column of the target. It is left out of ``inputs``.
        classes: whether splits are stratified by the target.
        values: whether the target is a number for distances.
        categories: whether the inputs are categories.
        delimiter: between values, as a regular expression.
        header: whether the first row holds names.
    """

    name: str
    inputs: slice
    target: int = -1
    classes: bool = True
    values: bool = False
    categories: bool = False
    delimiter: str = r"\s*,\s*"
    header: bool = False

    def frame(self, path: Path) -> pd.DataFrame:
        """The inputs and the target."""
        header = 0 if self.header else None
        frame = pd.read_csv(path, sep=self.delimiter, header=header, engine="python", comment="#").dropna(axis=1)
        target = frame.columns[self.target]
        inputs = frame.iloc[:, self.inputs].drop(columns=target, errors="ignore")
        inputs.columns = [f"x{i}" for i in range(inputs.shape[1])]
        outcome = pd.factorize(frame[target])[0] if self.classes else frame[target]
        if self.categories:
            inputs = inputs.apply(lambda column: [f"category {k}" for k in pd.factorize(column)[0]])
        return inputs.assign(target=outcome)


SPACES = r"\s+"
FILES: Mapping[str, File] = {
    "parkinsons": File("parkinsons.data", slice(1, None), 17, header=True),
    "climate_model_crashes": File("pop_failures.dat", slice(2, None), delimiter=SPACES),
    "concrete_compression": File("Concrete_Data.csv", slice(0, None), classes=False, header=True),
    "yacht_hydrodynamics": File("yacht_hydrodynamics.data", slice(0, None), classes=False, delimiter=SPACES),
    "airfoil_self_noise": File("airfoil_self_noise.dat", slice(0, None), classes=False, delimiter=SPACES, header=True),
    "connectionist_bench_sonar": File("sonar.all-data", slice(0, None)),
    "ionosphere": File("ionosphere.data", slice(0, None)),
    "qsar_biodegradation": File("biodeg.csv", slice(0, None), header=True),
    "seeds": File("seeds_dataset.txt", slice(0, None), delimiter=SPACES),
    "glass": File("glass.data", slice(1, None)),
    "ecoli": File("ecoli.data", slice(1, None), delimiter=SPACES),
    "yeast": File("yeast.data", slice(0, None)),
    "libras": File("movement_libras.data", slice(0, None)),
    "planning_relax": File("plrx.txt", slice(0, None), delimiter=SPACES),
    "connectionist_bench_vowel": File("vowel-context.data", slice(3, None), values=True),
    "concrete_slump": File("slump_test.data", slice(0, -3), classes=False, delimiter=SPACES),
    "wine_quality_red": File("winequality-red.csv", slice(1, None), classes=False),
    "wine_quality_white": File("winequality-white.csv", slice(0, None), classes=False),
    "congress": File("house-votes-84.data", slice(1, None), 0, categories=True),
    "car": File("car.data", slice(0, None), categories=True, header=True),
}
PACKAGES = {"iris": load_iris, "wine": load_wine, "breast_cancer_diagnostic": load_breast_cancer}
METHODS = (
    *("training rows", "Forest-Flow", "Forest-VP", "TVAE", "CTAB-GAN+", "Gaussian copula", "STaSy", "CTGAN"),
    *("CopulaGAN", "TabDDPM"),
)
PUBLISHED = """
airfoil_self_noise
    0.2413/0 0.2563/0.1329 0.3085/0.2038 0.4186/0.3643 0.6377/0.6128 0.6435/0.6023
    0.5161/0.4701 0.7019/0.6842 0.6847/0.6474 0.2526/0.1137
breast_cancer_diagnostic
    1.8527/0 1.7488/1.2814 1.8476/1.4624 2.4720/2.3463 2.4871/2.3305 2.8500/2.5994
    2.7096/2.4937 4.5987/4.4792 5.9881/5.8618 3.4377/3.0238
car
    1.1018/0 1.0023/0.5095 0.9945/0.5113 1.1366/0.7232 1.1664/0.8039 1.2323/0.8462
    1.2348/0.9287 1.3286/1.0681 1.2666/0.9552 1.1829/0.7926
climate_model_crashes
    3.8794/0 3.7057/2.8409 3.6864/2.8829 4.1538/3.7708 3.9132/3.6000 3.9547/3.5921
    3.9866/3.5506 4.6576/4.3325 5.2961/4.9647 3.7815/1.8854
concrete_compression
    0.4851/0 0.5423/0.3191 0.5956/0.4047 0.7719/0.6843 1.1160/1.0648 1.0668/1.0103
    0.8553/0.8048 1.2206/1.1444 1.2467/1.2030 0.5133/0.2230
concrete_slump
    1.1003/0 1.1706/0.5388 1.1687/0.6240 1.3839/1.0810 1.5735/1.3371 1.5180/1.2166
    1.5090/1.1174 1.8269/1.5576 1.8065/1.6623 1.1494/0.4417
congress
    2.3998/0 3.6714/3.1252 3.7087/3.1400 2.6721/2.4651 4.8100/4.3795 4.6484/4.1265
    3.7636/3.2984 5.3253/4.9658 5.4342/4.9356 2.3860/1.0468
connectionist_bench_sonar
    8.5280/0 8.3797/6.3460 8.3969/6.5424 9.5315/8.4387 9.3144/8.3601 10.2239/9.1719
    18.2890/17.5954 13.9911/13.2585 16.0061/15.4664 26.6461/26.2364
connectionist_bench_vowel
    0.6725/0 0.7274/0.4087 0.7592/0.5014 1.1227/1.0256 1.4243/1.3602 1.6502/1.5708
    1.1587/1.0653 1.7877/1.7231 2.1162/2.0351 0.7119/0.3266
ecoli
    0.4014/0 0.4495/0.2444 0.4717/0.3047 0.6666/0.6322 1.2387/1.1856 1.9071/1.8322
    0.9520/0.9161 1.3135/1.2482 2.3329/2.2670 0.4542/0.2322
glass
    0.6306/0 0.6829/0.3569 0.7166/0.4501 0.9910/0.8741 1.3479/1.2602 2.0422/1.9640
    0.9665/0.8044 1.6242/1.5396 2.0686/1.9881 0.6902/0.3153
ionosphere
    4.4178/0 4.2982/3.2392 4.3777/3.4343 5.1133/4.7197 5.8235/5.6169 7.5317/7.1468
    6.4494/5.8460 8.1851/8.0362 9.5790/9.3240 8.8442/8.0969
iris
    0.2361/0 0.3282/0.1966 0.3326/0.2374 0.4849/0.4477 0.8059/0.8080 0.7326/0.6787
    0.5813/0.5466 1.0735/1.0447 1.0439/1.0030 0.3286/0.1932
libras
    8.9062/0 9.9968/7.6760 10.1728/8.1243 14.1045/13.1585 20.1899/19.9228 12.7621/11.7424
    33.1671/32.4874 23.5071/23.1669 24.8296/24.4803 38.8348/38.2231
parkinsons
    1.7050/0 1.6745/1.1505 1.7363/1.3145 2.3754/2.3922 2.1045/2.0723 2.6340/2.4010
    2.7981/2.4051 4.2268/4.2617 4.5741/4.5222 3.7172/2.9423
planning_relax
    1.4447/0 1.4247/0.8196 1.4249/0.9040 1.7759/1.5507 1.6340/1.4284 3.2742/3.0881
    1.6458/1.3543 2.6879/2.4965 3.8225/3.6595 1.5684/0.6824
qsar_biodegradation
    1.3761/0 1.4713/1.0972 1.6587/1.3398 1.9790/1.8604 3.4904/3.4247 4.7098/4.5404
    3.0673/2.8484 3.5668/3.4867 4.9460/4.8628 19.1332/19.1163
seeds
    0.4598/0 0.5152/0.3065 0.5402/0.3727 0.9417/0.8588 1.2372/1.1618 1.0151/0.8965
    0.8081/0.7170 1.8277/1.7413 1.9519/1.8985 0.5158/0.2627
wine
    1.4403/0 1.4206/0.8447 1.4307/0.9568 1.7876/1.5925 2.2040/2.0258 2.0969/1.8806
    1.8170/1.5652 2.9158/2.7353 3.0119/2.8418 1.5305/0.7122
wine_quality_red
    0.5043/0 0.5160/0.3852 0.5492/0.4361 0.5862/0.5324 0.7145/0.6709 0.6741/0.6096
    0.7015/0.6325 1.0935/1.0457 1.0786/1.0228 0.5304/0.2965
wine_quality_white
    0.4339/0 0.4717/0.3908 0.5085/0.4364 0.5388/0.5022 0.5698/0.5220 1.0677/1.0368
    0.6048/0.5536 0.8114/0.7827 1.2214/1.1984 0.4527/0.3205
yacht_hydrodynamics
    0.4997/0 0.5373/0.2474 0.6185/0.3587 0.8279/0.7628 1.1845/1.1596 1.1006/0.9788
    0.9007/0.7223 1.0967/1.0093 1.2448/1.1058 0.5375/0.2461
yeast
    0.3177/0 0.3386/0.2042 0.3737/0.2646 0.4769/0.4419 0.5368/0.4973 2.8302/2.7883
    0.5171/0.4614 1.1268/1.0949 2.3743/2.3460 0.3518/0.1770
"""
"""Each set, then W1 to test rows and to training rows by method."""
WORDS = PUBLISHED.split()
DISTANCES = {
    name: {
        method: dict(zip(("W1 to test rows", "W1 to training rows"), map(float, pair.split("/")), strict=True))
        for method, pair in zip(METHODS, WORDS[i + 1 :], strict=False)
    }
    for i, name in enumerate(WORDS)
    if "/" not in name
}


def splits(name: str, options: Options) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Training and test rows. Classes become texts after they have been drawn."""
    if name in PACKAGES:
        file, frame = File("", slice(0)), PACKAGES[name](as_frame=True).frame
    else:
        file = FILES[name]
        frame = file.frame(located(options, f"uci/{file.name}", "the UCI repository"))
    for seed in range(SPLITS):
        strata = frame["target"] if file.classes else None
        parts = train_test_split(frame, test_size=0.2, random_state=seed, stratify=strata)
        if file.classes and not file.values:
            parts = [part.assign(target=[f"class {k}" for k in part["target"]]) for part in parts]
        yield parts[0].reset_index(drop=True), parts[1].reset_index(drop=True)


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """The distance of training rows."""
    oracle = [transport(points(train, test), points(train, train)) for train, test in splits(name, options)]
    value = DISTANCES[name]["training rows"]["W1 to test rows"]
    yield Anchor("W1 of training rows to test rows", value, statistics.mean(oracle), TOLERANCE * value)


def measure(name: str, options: Options) -> Iterator[Line]:
    """The figures of every system."""
    yield from lines(name, splits(name, options), options)


ROW = Row(
    title="23 tables of the UCI repository by ForestDiffusion's protocol (T6)",
    figure="W1 to test rows",
    lower=True,
    protocol="That of T4, without targets.",
    source="SamsungSAILMontreal/ForestDiffusion at 818ac3b, Results_tabular - generation.csv",
    data="files of the UCI repository, held against the published distance of their training rows; scikit-learn",
    chosen=f"none: presets, {STEPS} steps of {' and '.join(RECIPES)}, a tenth of the rows chooses weights",
    interval="least and most of three splits",
    sets=tuple(DISTANCES),
    published=tuple(
        Line(name, method, figures, source="ForestDiffusion", reference=method == "training rows")
        for name, methods in DISTANCES.items()
        for method, figures in methods.items()
    ),
    anchors=anchors,
    measure=measure,
    differs={"metric": f"{DRAWS} draws a split, theirs five; the rest as theirs"},
    notes=(
        "Training rows themselves have the least W1 to test rows on most sets, so that a system gains by nearness to "
        "them. So W1 to training rows stands beside it.",
        "Two sets of the paper are left out, blood_transfusion and tictactoe: our files gave other anchors.",
    ),
)
