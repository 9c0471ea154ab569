"""Write the picture of the map: ``python tools/make_map_picture.py docs/pictures/map.png``, from the exported page.

It needs playwright and Debian's chromium, as ``make web`` does.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from fourfold_web.export import export_page


def main(path: Path) -> None:
    """Open the exported page and take the picture of its map, about as wide as a README is shown."""
    from playwright.sync_api import sync_playwright  # only here is a browser needed

    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1320, "height": 800}, device_scale_factor=2, color_scheme="light")
        page.goto(f"{export_page(Path(folder)).as_uri()}#/map")
        page.wait_for_selector(".map .names button")
        page.add_style_tag(content=".map .zoom { display: none; }")
        page.wait_for_timeout(1500)
        page.locator(".map .chart").screenshot(path=path)
        print(page.locator(".map canvas").get_attribute("data-names"), "names")
        browser.close()
    small(path)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def small(path: Path) -> None:
    """Keep 64 colours, which a map does not exceed by much."""
    from PIL import Image

    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
