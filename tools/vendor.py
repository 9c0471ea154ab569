"""``python tools/vendor.py [--check]``: rebuild the scripts of others that the page of `fourfold serve` loads.

``src/fourfold_web/static/vendor/package-lock.json`` fixes the packages of the npm registry with their digests, which
``npm ci`` checks. Their builds, one after the other, are one ES module. The result is the same to the byte each time.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "src" / "fourfold_web" / "static" / "vendor"
PACKAGES = (
    *(
        "array",
        "axis",
        "color",
        "dispatch",
        "timer",
        "ease",
        "interpolate",
        "selection",
        "transition",
        "drag",
        "format",
    ),
    *("path", "quadtree", "time", "time-format", "scale", "shape", "zoom"),
)
"""The parts of D3 that the page needs, each after those it is built upon."""


def build(folder: Path) -> Mapping[str, bytes]:
    """The files of the vendor folder, from the installed packages below a folder."""
    modules = [folder / "node_modules" / f"d3-{name}" for name in PACKAGES]
    parts = [path.read_bytes().strip() for module in modules for path in module.glob("dist/*.min.js")]
    return {
        "d3.js": b"\n".join([*parts, b"export default globalThis.d3;\n"]),
        "d3-LICENSE.txt": (modules[0] / "LICENSE").read_bytes(),
    }


def main() -> int:
    """Write the files, or with ``--check`` say which of them differ."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for lock in ("package.json", "package-lock.json"):
            shutil.copy(VENDOR / lock, folder)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--silent", "--no-audit"], cwd=folder, check=True)
        files = build(folder)
    if "--check" not in sys.argv:
        for file, content in files.items():
            (VENDOR / file).write_bytes(content)
        return 0
    other = [file for file, content in files.items() if (VENDOR / file).read_bytes() != content]
    print("\n".join(f"{file} differs from its packages: run tools/vendor.py" for file in other), end="")
    return len(other)


if __name__ == "__main__":
    raise SystemExit(main())
