"""Loads damaged Feather files and Arrow shards, one after the other, and prints what becomes of each.

Run in a process of its own: what Arrow reads beyond its buffers ends the process.
"""

import io
import random
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from fourfold.data import DataError, load

ODD = (0, 1, -1, 2**31 - 1, -(2**31), 7, 3000, 10**9, -2 * 10**9)


def table():
    times = pa.array([None if i % 7 == 0 else i for i in range(40)], pa.timestamp("s"))
    words = pa.array(["u", "v"] * 20).dictionary_encode()
    return pa.table({"s": ["alpha", "bravo", "chars", "delta"] * 10, "x": np.arange(40) * 1.5, "c": words, "t": times})


def pictures():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, format="PNG")
    image = [{"bytes": file.getvalue(), "path": str(i)} for i in range(30)]
    return pa.table({"image": image, "label": np.arange(30) % 3, "text": ["a cat", "dog"] * 15})


def written(rows, compression, opener):
    file = io.BytesIO()
    with opener(file, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(rows, max_chunksize=15)
    return file.getvalue()


def damaged(content, seed):
    """Bytes with a few of them, or a few integers, replaced; of every tenth, the end is cut off."""
    draw, out = random.Random(seed), bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4])):
        if draw.random() < 0.3:
            out[draw.randrange(len(out))] = draw.randrange(256)
        else:
            at = draw.randrange(len(out) // 4) * 4
            out[at : at + 4] = draw.choice(ODD).to_bytes(4, "little", signed=True)
    return bytes(out[: draw.randrange(len(out)) if draw.random() < 0.1 else len(out)])


def attempt(path, name):
    try:
        data = load(path)
        if data.streamed is not None:
            data.streamed.batch(data.streamed.rows(0, 0, 0, len(data.streamed)))
        return "loaded"
    except DataError as error:
        return "refused" if name in str(error) and "\n" not in str(error) else f"unclear: {error}"


def moved(rows, by):
    """The offsets of the texts of a batch, from the eighth on, further on."""
    offsets = np.arange(0, 80, 5, dtype=np.int32)
    other = offsets + np.where(np.arange(16) >= 8, by, 0).astype(np.int32)
    assert offsets.tobytes() in rows
    return rows.replace(offsets.tobytes(), other.tobytes())


def main(folder, cases):
    plain = written(
        pa.table({"s": ["alpha", "bravo", "chars", "delta"] * 10, "n": np.arange(40) * 1.5}), None, pa.ipc.new_file
    )
    files = [("moved.feather", moved(plain, by)) for by in (10**9, 3000, -2 * 10**9)]
    for opener in (pa.ipc.new_file, pa.ipc.new_stream):
        for compression in (None, "zstd"):
            for rows, name in ((table(), "table.feather"), (pictures(), "shard.arrow")):
                content = written(rows, compression, opener)
                files += [(name, content), *((name, damaged(content, seed)) for seed in range(cases))]
    for number, (name, content) in enumerate(files):
        path = folder / str(number) / name  # what is opened under a name is opened once
        path.parent.mkdir()
        path.write_bytes(content)
        print(attempt(path if name.endswith(".feather") else path.parent, name), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
