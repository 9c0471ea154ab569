"""The settings of reading data, in one dataclass from the command line to the readers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, final

from fourfold.settings.declaration import TABLE_PANEL, TEXT_PANEL, Option, options_of, setting

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fourfold.core import Space
    from fourfold.privacy import Protection

__all__ = [
    "IN_MEMORY",
    "OWN",
    "DataKeywords",
    "DataOptions",
    "SampleOptions",
    "conditions_in",
    "name_of",
    "names_of",
    "recordable",
    "recorded",
    "stands_apart",
    "words_of",
]


class DataKeywords(TypedDict, total=False):
    """The keywords of :func:`fourfold.load`, the fields of :class:`DataOptions`, for editors and type checkers."""

    seed: int
    labels: str | os.PathLike[str] | np.ndarray | Tensor | None
    given: Any
    limit: int | None
    size: int | tuple[int, int] | None
    channels: int | None
    rate: int | None
    seconds: float | None
    n_values: int | None
    skip_bad: bool
    deduplicate: bool
    stream: bool | None
    length: int | None
    tokens: str | os.PathLike[str] | None
    text: str | None
    text_model: str | os.PathLike[str] | None
    fractions: Sequence[float] | None
    space: Space | str | None
    schema: str | os.PathLike[str] | None
    rules: bool
    rare: int
    keep_rare: bool
    header: bool | None
    query: str | None
    target: str | None
    group: str | None
    series: str | None
    order: str | None
    data_dir: str | os.PathLike[str] | None
    private: Protection | None
    text_rows: Any


def shares_of(words: str) -> list[float]:
    """The shares that ``0.8,0.1,0.1`` says.

    Raises:
        ValueError: for other words.
    """
    try:
        return [float(share) for share in words.split(",")]
    except ValueError:
        raise ValueError(f"--fractions must be numbers such as 0.8,0.1,0.1, got {words!r}") from None


def _one_or_several(names: list[str]) -> str | list[str] | None:
    """One name as a text, and ``None`` for none."""
    return names[0] if len(names) == 1 else names or None


_any = partial(Option, panel="Data")
_images = partial(Option, panel="Images and sounds")
_text = partial(Option, panel=TEXT_PANEL)
_table = partial(Option, panel=TABLE_PANEL)


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The settings of :func:`fourfold.load`, and of ``data_options`` of ``fit`` and ``compare``.

    Each is declared here alone, with its option of the command line.

    Attributes:
        seed: draws sampled sets and splits.
        labels: the label column of a table, the label array of an ``.npz``, the label file of an ``.npy``, or the
            labels of an array in memory.
        given: the condition of each example. ``"labels"``, ``"captions"`` or ``"transcripts"``: the class or text that
            lies with it. Columns of a table by their names, as in ``"age,income"``, of which the other columns are then
            the examples (``"rest"``: all but ``target``). Columns of long series are covariates, which a forecast may
            know beforehand. A file or folder of any data, of which files pair by their
            names, rows with sequences by the column ``group``, and other rows, arrays and lines of text in their order.
            In Python also an array, a tensor, a data frame, a list of texts, or a data set that is read from a file. A
            list or a dictionary of these holds several conditions at once. Each is read as it stands: ``size``,
            ``rate`` and such are for the examples alone.
        limit: use at most this many examples, or the first so many tokens of a text. Of an ``.npy``, a table or a text
            no more than that is kept in memory.
        size: resize images to this height and width (the shorter side is scaled, the rest is cut off evenly). By
            default images of several sizes become one size, and ``dataset.notes`` says which.
        channels: convert images to grey (1) or colour (3).
        rate: resample sounds to this sampling rate, in Hz. By default the rate of most files, at most 8,000.
        seconds: length of a clip of sound. Longer files are cut into clips, or left out where they have transcripts.
            Shorter ones are padded. By default the length of the longest file, at most 2 s without transcripts.
        n_values: number of values that a pixel of an array can take, if fewer than 256.
        skip_bad: leave out images and sounds that cannot be read, and list them in ``dataset.skipped``. Of a database,
            leave out rows that break a key, and say so.
        deduplicate: leave out examples that equal an earlier one, or one of an official test set. Of a text, leave out
            passages of 50 tokens that stand in it before.
        stream: leave the training examples of an ``.npy`` or of a folder of images (however deep) in their files, and
            read them while a model is trained. ``Dataset.train`` is then a sample of them. By default an ``.npy`` that
            does not fit into memory is streamed, and images in shards always are.
        length: tokens in a window of text (256), or the most rows of a sequence.
        tokens: the tokens of a text: ``"chars"``, ``"bytes"``, ``"bpe:4096"`` (a vocabulary of 4,096 parts of words,
            learned from the training part), or the path of a published ``tokenizer.json``. By default characters where
            at most 256 differ, else bytes.
        text: the field of a ``.jsonl``, or the column of a table, that holds texts. Each is an example with ``given``
            or with the space ``"lines"``, and else a document of one long text.
        text_model: the file or folder of a model of language that writes the texts of a table, each given its row. By
            default they are drawn letter by letter.
        fractions: shares of train, validation and test. Two shares make validation and test the same examples. By
            default 0.8, 0.1, 0.1, drawn by the seed or, of a series, by position, and for text 0.9, 0.05, 0.05 by
            position. An official test set stays the test set.
        space: the name of the space to read the data as, such as that of an installed space, or the space of a trained
            model that the data is for: columns are found by name, classes keep its numbers, and images and text become
            what it was trained on. By default a file or frame whose columns are all continuous and free of ties is
            ``"vectors"``, and any other, such as one of whole numbers, words, dates or gaps, is a ``"table"``.
        schema: a file that says what columns are, where that should not be inferred: see
            :func:`fourfold.data.schema.read_schema`.
        rules: whether samples keep the rules that all training rows of a table keep.
        rare: categories that fewer training rows have are pooled or replaced, and numbers beyond the one of this rank
            from either end are drawn from a smooth tail, so that samples do not give a person away. Trees and
            baselines count no number by itself that fewer rows have.
        keep_rare: keep them all.
        header: whether the first row of a CSV file or a sheet names its columns, if looking at it errs.
        query: a query, or the name of a table, of a database that holds several; or the name of a sheet of a workbook.
        target: the column of a table of mixed columns that models are judged by predicting.
        group: the column of a table whose values name sequences. Rows with one key, in the order of ``order``, are one
            example, a sequence of varying length.
        series: the column of a table whose values name long series, such as shops or stations. An example is a window
            of one of them, and the column stays among those of its rows.
        order: the column, of numbers or times, that orders rows. Without ``group`` and ``series`` the table is one long
            series, and an example is a window of it. Splits of series are cut by position.
        data_dir: where the files of Fashion-MNIST are.
        private: how the rows of a table are protected. Its schema is then counted with noise.
        text_rows: a data frame with a row for each row of a table, which ``text_model`` alone is shown: such as the row
            that owns it.

    Raises:
        ValueError: for a limit or a number of rare rows below 1.
    """

    seed: int = 0
    labels: str | np.ndarray | None = setting(  # noqa: RUF009 (it makes a field)
        None, _any(str, "Where the classes are: a column of a table, an array of an .npz, or a file for an .npy.")
    )
    given: Any = setting(  # noqa: RUF009
        None,
        _any(
            list[str],
            "The conditions: labels or captions that lie with the data, columns (age,income), or a file or folder that "
            "pairs by name or order. Can be repeated.",
            metavar="WHAT",
            parse=_one_or_several,
        ),
    )
    limit: int | None = setting(
        None,
        _any(int, "The most examples, or tokens of a text.", min=1, show_default="all", metavar="N"),
    )
    size: tuple[int, int] | None = setting(
        None,
        _images(
            int,
            "Height and width of images; the longer side is cropped.",
            ("--image-size",),
            min=1,
            show_default="that of most",
            metavar="N",
        ),
    )
    channels: int | None = setting(
        None,
        _images(
            int,
            "Convert images to grey (1) or colour (3).",
            min=1,
            max=3,
            show_default="3 if any has colour",
            metavar="N",
        ),
    )
    rate: int | None = setting(
        None,
        _images(
            int,
            "Sampling rate of sounds.",
            show_default="that of most, at most 8000",
            metavar="HZ",
        ),
    )
    seconds: float | None = setting(
        None,
        _images(
            float,
            "Length of a clip of sound; longer files are cut.",
            show_default="the longest, at most 2",
            metavar="X",
        ),
    )
    n_values: int | None = setting(
        None,
        _images(
            int,
            "Number of values of a pixel of an array.",
            min=2,
            max=256,
            show_default="256",
            metavar="N",
        ),
    )
    skip_bad: bool = setting(
        False,
        _any(bool, "Leave out files that cannot be read, and rows that break a key.", ("--skip-bad",)),
    )
    deduplicate: bool = setting(
        False, _any(bool, "Leave out repeated examples, or passages of a text.", ("--deduplicate",))
    )
    stream: bool | None = setting(None, _any(bool, "Read images or an .npy from disk while training.", ("--stream",)))
    length: int | None = setting(
        None,
        _text(
            int,
            "Tokens of a window of text, or the most rows of a sequence.",
            min=2,
            show_default="256",
            metavar="N",
        ),
    )
    tokens: str | None = setting(
        None,
        _text(
            str,
            "chars, bytes, bpe:4096 (parts of words), or a tokenizer.json.",
            show_default="chars, or bytes if more than 256 differ",
        ),
    )
    text: str | None = setting(
        None,
        _text(
            str,
            "Field of a .jsonl, or column of a table, that holds the texts.",
            show_default="text",
            metavar="NAME",
        ),
    )
    text_model: str | None = setting(
        None,
        _table(
            str,
            "A model of language that writes columns of texts, each given its row: a folder, a .gguf, or a run.",
            metavar="<path>",
            show_default="letter by letter",
        ),
    )
    fractions: Sequence[float] | None = setting(
        None,
        _any(
            str,
            "Shares of training, validation and test.",
            show_default="0.8,0.1,0.1; text 0.9,0.05,0.05",
            parse=shares_of,
        ),
    )
    space: Space | str | None = setting(  # noqa: RUF009
        None,
        _any(
            str,
            "Read the data as this space: table, vectors, sequences, ...",
            show_default="that of the file",
        ),
    )
    schema: str | None = setting(
        None,
        _table(
            str,
            "The kinds of the columns: a .toml that 'fourfold data' writes.",
            metavar="<path>",
            show_default="inferred",
        ),
    )
    rules: bool = setting(
        True,
        _table(
            bool,
            "Whether samples keep the rules that all training rows keep. With data, --rules lists them.",
            ("--rules/--no-rules",),
        ),
    )
    rare: int = setting(
        5,
        _table(
            int,
            "Categories in fewer rows are pooled or replaced, and as many numbers at either end are smoothed.",
            min=1,
            metavar="N",
        ),
    )
    keep_rare: bool = setting(
        False, _table(bool, "Keep rare categories and extreme numbers as they are.", ("--keep-rare",))
    )
    header: bool | None = setting(
        None,
        _table(
            bool,
            "Whether the first row of a .csv or .xlsx names the columns.",
            ("--header/--no-header",),
            show_default="by its look",
        ),
    )
    query: str | None = setting(None, _table(str, "A query or table of a .sqlite or .duckdb, or a sheet of an .xlsx."))
    target: str | None = setting(None, _table(str, "The column that the evaluation asks models to predict."))
    group: str | None = setting(
        None,
        _table(str, "The column that names sequences of rows; needs --order.", metavar="NAME"),
    )
    series: str | None = setting(
        None,
        _table(str, "The column that names long series, each cut into windows; needs --order.", metavar="NAME"),
    )
    order: str | None = setting(
        None,
        _table(
            str,
            "The column that orders rows. Without --group and --series they are one series, cut into windows.",
            metavar="NAME",
        ),
    )
    data_dir: str | None = setting(None, _any(str, "Folder with the files of Fashion-MNIST.", metavar="<path>"))
    private: Protection | None = None
    text_rows: Any = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")
        if self.rare < 1:
            raise ValueError(f"rare must be at least 1 row, got {self.rare}; keep_rare keeps every value")

    @classmethod
    def of(cls, **keywords: Unpack[DataKeywords]) -> DataOptions:
        """The settings with those that a caller gives: paths as text, one size as height and width."""
        values: dict[str, Any] = {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in keywords.items()
        }
        if isinstance(values.get("size"), int):
            values["size"] = (values["size"], values["size"])
        return cls(**values)

    @property
    def model(self) -> Space | None:
        """The space of the trained model that the data is for, if it is for one."""
        return None if isinstance(self.space, str) else self.space

    @property
    def conditional(self) -> bool:
        """Whether the examples are modelled given their conditions."""
        return self.given is not None if self.model is None else self.model.conditional

    @property
    def support(self) -> int:
        """The least number of rows of a value that models learn as it is."""
        return 1 if self.keep_rare else self.rare

    @property
    def line_by_line(self) -> bool:
        """Whether each text of a column or a file is an example of its own."""
        return self.space == "lines"

    def changed(self) -> dict[str, Any]:
        """Every setting that differs from its default."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {f.name: values[f.name] for f in fields(self) if values[f.name] is not f.default}


@final
@dataclass(frozen=True, kw_only=True)
class ConditionOptions(DataOptions):
    """The settings by which conditions are read.

    Attributes:
        index: the column of a table whose values tell which example each row belongs to. It is not part of the
            condition.
    """

    index: str | None = None

    @classmethod
    def beside(cls, options: DataOptions) -> ConditionOptions:
        """The settings by which the examples are read, for conditions in the same file."""
        return cls(**{f.name: getattr(options, f.name) for f in fields(DataOptions)})


@final
@dataclass(frozen=True, kw_only=True)
class SampleOptions(DataOptions):
    """The settings by which samples of another system are read: a value that no column of its kind holds is wrong."""


def words_of(name: str, value: object = None) -> list[str] | None:
    """The words of a command line that give a setting of reading. ``None`` if none can, as for an array of labels.

    Without a value, the flag alone.
    """
    options = options_of(DataOptions)
    return options[name].words(name, value) if name in options else None


OWN = ("labels", "captions", "transcripts")
"""Words for the conditions that lie with the examples."""
IN_MEMORY = "<data in memory>"
"""The name of data that has neither a name nor a path."""
FEWEST = 20
"""A list of so many texts holds the conditions, and a shorter one their names, since no set has fewer examples."""


def name_of(data: Any, without: str = IN_MEMORY) -> str:
    """The name or the path of data, or else a name for data in memory."""
    return os.fspath(data) if isinstance(data, (str, os.PathLike)) else without


def conditions_in(given: Any) -> dict[str, Any]:
    """The conditions in a setting ``given`` by their labels: one, or several of a dictionary or a short list."""
    if given is None or isinstance(given, dict):
        return {str(label): item for label, item in (given or {}).items()}
    items = list(given) if isinstance(given, (list, tuple)) and len(given) < FEWEST else []
    if not items or isinstance(items[0], (int, float, list, tuple)):  # the numbers or rows of one
        items = [given]
    labels = [Path(item).stem if isinstance(item, (str, os.PathLike)) else "" for item in items]
    if len({*labels}) < len(labels) or not all(labels):
        labels = [f"condition {i + 1}" for i in range(len(items))]
    return dict(zip(labels, items, strict=True))


def names_of(given: Any) -> list[str]:
    """The names in a setting of conditions: columns or files. Data in memory has none."""
    return [os.fspath(item) for item in conditions_in(given).values() if isinstance(item, (str, os.PathLike))]


def stands_apart(name: str) -> bool:
    """Whether conditions of this name are a file or folder. A word of :data:`OWN` never is: ``./labels`` may be."""
    return name not in OWN and Path(name).expanduser().exists()


def recorded(given: Any, columns: Sequence[str] = ()) -> str | list[str] | dict[str, str]:
    """The setting ``given`` as a run records it: files by their absolute paths, data in memory as :data:`IN_MEMORY`.

    Args:
        given: the setting.
        columns: names that stand for columns, though there may be files of this name.
    """
    items = conditions_in(given)
    if len(names_of(given)) < len(items):  # an array, or texts
        return IN_MEMORY
    places = {label: _place(os.fspath(item), columns) for label, item in items.items()}
    if isinstance(given, dict):
        return places
    return list(places.values()) if len(places) > 1 else next(iter(places.values()))


def _place(name: str, columns: Sequence[str]) -> str:
    """The absolute path of a file. A column stays as it is."""
    return str(Path(name).expanduser().absolute()) if stands_apart(name) and name not in columns else name


def recordable(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, but for the seed, that differ from their defaults and that JSON can hold."""
    defaults = {f.name: f.default for f in fields(DataOptions) if f.name != "seed"}
    values = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in keywords.items()}
    plain = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, tuple, list))}
    return {name: value for name, value in plain.items() if name in defaults and value != defaults[name]}
