"""Readers of files and folders, chosen by their content and suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fourfold.data.arrays import read_array
from fourfold.data.errors import OF_TABLES, DataError, refuse_other
from fourfold.data.folders import IMAGES
from fourfold.data.formats import FileFormat, formats
from fourfold.data.images import read_folder
from fourfold.data.packed import kind_of
from fourfold.data.records import Files, StoredRecords, files_below
from fourfold.data.source import Source
from fourfold.data.stored import Stored
from fourfold.data.stored_images import StoredImages
from fourfold.data.table_records import open_rows
from fourfold.data.tables import read_table
from fourfold.data.tars import Tars
from fourfold.data.text import holds_documents, read_documents, read_text
from fourfold.settings.data import DataOptions

__all__ = ["TABLES", "read"]

TABLES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((".csv", ".tsv"), ("header",)),
    **dict.fromkeys((".parquet", ".feather", ".arrow", ".json", ".jsonl", ".ndjson"), ()),
    ".xlsx": ("header", "query"),
    **dict.fromkeys((".sqlite", ".sqlite3", ".db", ".duckdb"), ("query",)),
}
"""Endings of files that hold tables, and the settings that only some of them have."""
UNREADABLE = (".pt", ".pth", ".pkl", ".pickle", ".xls", ".ods", ".h5", ".hdf5", ".mat", ".safetensors")
"""Endings of files that are data, and of no format that is read."""


def read(path: Path, options: DataOptions) -> Source | Stored:
    """Read a file or a folder, chosen by its suffix.

    Raises:
        DataError: if it is not of a kind that can be read, or holds bad data.
    """
    stored = open_stored(path, options)
    if stored is not None:
        return stored
    if holds_documents(path, options):
        refuse_other(options, f"{path}, documents", "tokens", "text")
        return read_documents(path, options)
    if path.is_dir():
        return _read_folder(path, options)
    if not path.is_file():
        raise DataError(f"{path}: must be a regular file or a folder, got a device or a pipe: give one of data")
    suffix = kind_of(path)
    if suffix in (".npy", ".npz"):
        refuse_other(options, f"{path}, an array", "labels", "n_values", *(("stream",) if suffix == ".npy" else ()))
        return read_array(path, options)
    if suffix in TABLES:
        refuse_other(options, f"{path}, a table", *OF_TABLES, *TABLES[suffix])
        return read_table(path, options)
    return _read_example(path, options)


def _read_example(path: Path, options: DataOptions) -> Source:
    """An example of a format, an image or a text. One image is too little to train on: only a model reads it."""
    suffix = path.suffix.lower()
    if suffix in IMAGES and options.model is not None:
        return _read_images(path, options)
    form = next((form for form in formats() if suffix in form.suffixes), None)
    return _read_text(path, options) if form is None else _read_format(form, path, options)


def _read_folder(path: Path, options: DataOptions) -> Source:
    """A folder of a format, or of images."""
    form = next((form for form in formats() if form.recognises(path)), None)
    return _read_images(path, options) if form is None else _read_format(form, path, options)


def _read_format(form: FileFormat, path: Path, options: DataOptions) -> Source:
    refuse_other(options, f"{path}, {form.things}", *form.settings)
    return form.read(path, options)


def _read_images(path: Path, options: DataOptions) -> Source:
    """An image, or a folder of images."""
    refuse_other(options, f"{path}, images", "size", "channels")
    return read_folder(path, options)


def open_stored(path: Path, options: DataOptions) -> Stored | None:
    """Images that stay in their files: tar shards, Parquet and Arrow with a column of images, folders to be streamed.

    ``None`` for everything else.
    """
    folder = path.is_dir()
    tars = files_below(path, ".tar") if folder else [path] if path.suffix.lower() == ".tar" else []
    rows = files_below(path, ".parquet", ".arrow") if folder else [path] if path.suffix.lower() == ".parquet" else []
    records: StoredRecords | None = Tars(path, tars) if tars else None
    names = ["size", "channels", "stream"]
    if records is None and rows and options.text is None:
        records = open_rows(path, rows, options.labels if isinstance(options.labels, str) else None)
        names += [] if records is None else ["labels"]
    if records is None and folder and options.stream:
        records = Files(path)
    if records is None:
        return None
    refuse_other(options, f"{path}, images that are streamed", *names)
    return StoredImages(records, path, options)


def _read_text(path: Path, options: DataOptions) -> Source:
    """A text file. Other formats are refused by name."""
    things = " or ".join(["images", *(form.things for form in formats())])
    kinds = (
        "text, .npy, .npz, .csv, .tsv, .xlsx, .json, .jsonl, .parquet, .feather, .sqlite, .duckdb, .tar, or a folder "
        f"of {things}"
    )
    if path.suffix.lower() in IMAGES:
        raise DataError(f"{path}: must be a folder of images, got one image: give its folder")
    if path.suffix.lower() in (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z"):
        raise DataError(
            f"{path}: must be {kinds}, got a packed file: unpack it first; tables may be packed, as .csv.gz"
        )
    if path.suffix.lower() in UNREADABLE:
        raise DataError(f"{path}: must be {kinds}, got {path.suffix}; write it as one of these")
    refuse_other(options, f"{path}, a text", "tokens")
    return read_text(path, options)
