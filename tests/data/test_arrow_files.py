"""Feather and Arrow files from anybody: read batch by batch, and checked before they are used."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fourfold import main
from fourfold.data import DataError, load
from fourfold.data.arrow import record_batches

CASES = 12


def test_damaged_files_are_loaded_or_refused_and_end_no_process(tmp_path):
    """Three files whose texts begin beyond their end, then damaged tables and pictures, whole and compressed."""
    script = Path(__file__).with_name("damaged_arrow.py")
    run = subprocess.run([sys.executable, script, tmp_path, str(CASES)], capture_output=True, text=True, check=False)
    lines = run.stdout.splitlines()
    assert run.returncode == 0, (run.returncode, len(lines), run.stderr[-500:])
    assert lines[:3] == ["refused"] * 3
    assert [lines[3 + (CASES + 1) * part] for part in range(8)] == ["loaded"] * 8  # those without damage
    assert len(lines) == 3 + 8 * (CASES + 1)
    assert set(Counter(lines)) == {"loaded", "refused"}


def test_a_limit_keeps_one_batch_at_a_time(tmp_path):
    """Sixteen batches of 8 MB are never in memory together."""
    path, zeros = tmp_path / "zeros.feather", pa.table({"x": np.zeros(1_000_000), "k": np.zeros(1_000_000, dtype=bool)})
    with pa.ipc.new_file(path, zeros.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for _ in range(16):
            writer.write_table(zeros)
    assert path.stat().st_size < 200_000
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in record_batches(path)]
    assert len(held) == 16
    assert max(held) < 3 * zeros.nbytes


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "t.feather"
    pd.DataFrame({"a": np.arange(40) % 3, "b": ["u", "v"] * 20}).to_feather(path)
    assert len(load(path).train) == 32
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"t\.feather: .*cut off.*: write it again"):
        load(path)


def test_times_beyond_the_calendar_are_refused(tmp_path):
    """Ticks of seconds that no microseconds can hold were taken as other times."""
    path = tmp_path / "t.arrow"
    rows = pa.table({"t": pa.array([2**62, *range(39)], pa.timestamp("s")), "k": ["u", "v"] * 20})
    with pa.ipc.new_file(path, rows.schema) as writer:
        writer.write_table(rows)
    with pytest.raises(DataError, match=r"t\.arrow, column t: times must be of the years 1 to 9999"):
        load(path)


def test_control_characters_of_a_file_are_escaped_in_python_too(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,k\x1b[2J\n" + "1,x\n" * 30)
    with pytest.raises(DataError) as caught:
        load(path, labels="missing\x1b]0;title\x07")
    assert "\x1b" not in str(caught.value)
    assert "\\u001b" in str(caught.value)


def test_an_error_of_arrow_is_one_line(monkeypatch, capsys):
    """The base of Arrow's errors is none of those of Python."""

    def fail(arguments):
        raise pa.ArrowException("Unknown error:\nof two lines")

    monkeypatch.setattr(main, "_answer", fail)
    assert main.run(["data"]) == 2
    assert capsys.readouterr().err == "error: Unknown error: of two lines\n"
