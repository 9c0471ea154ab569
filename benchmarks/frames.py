"""Processor time that a frame of the page takes in chromium: ``python benchmarks/frames.py [--seconds 5]``.

Scenes: a plane of 2,000 points that moves, all paradigms that play at once, and the map while it zooms. For each, the
frames that came, the milliseconds of processor time a frame on the main thread (by tracing, in thread time), and those
of all processes of the browser. Drawing is by software, as chromium does without a GPU. Also the first view, with an
empty cache: kilobytes, the processor time of the main thread and of the server, and the seconds on the clock until it
paints, and until every picture is drawn and the next event is answered. Prints one JSON object a scene.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from fourfold_web.server import App, server_of
from fourfold_web.serving import bound

TOKEN = "t" * 32
COUNT = (
    "let n = 0; const tick = () => { n++; requestAnimationFrame(tick); }; tick(); globalThis.frames_drawn = () => n;"
)
POINTS = """async () => {
  const { Plane, unpacked } = await import("./player.js");
  const frames = 33, count = 2000, values = new Uint16Array(frames * count * 2).map(() => 65534 * Math.random());
  const bytes = new Uint8Array(values.buffer); let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  const layer = { kind: "points", shape: [frames, count, 2], bits: 16, low: -2.4, high: 2.4, data: btoa(text) };
  const panels = [{ title: "", reach: 2.6, layers: [layer] }];
  const trace = unpacked({ frames: Array(frames).fill({ caption: "", move: 1, rest: 0 }), panels });
  const canvas = document.createElement("canvas"); canvas.style.cssText = "width:600px;height:600px";
  document.getElementById("view").replaceChildren(canvas);
  const plane = new Plane(canvas, trace, trace.panels[0], new Set(["points"])); plane.fit();
  const draw = () => { plane.draw((performance.now() / 9000) % 1); requestAnimationFrame(draw); }; draw();
}"""
PLAY = """() => { const play = document.querySelector(".transport .first");
  setInterval(() => { if (play.textContent === "Play") play.click(); }, 50); }"""
ZOOM = """() => { const canvas = document.querySelector(".map canvas"), box = canvas.getBoundingClientRect(); let k = 0;
  const place = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, cancelable: true };
  const turn = () => { canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: k++ % 120 < 60 ? -20 : 20, ...place }));
    requestAnimationFrame(turn); }; turn(); }"""
DRAWN = {
    "paradigms": "document.querySelectorAll('.tile .lines:not(:empty)').length === 7",
    "map": "document.querySelector('.map canvas[data-names]')",
}
"""A condition that holds when a view is drawn."""
USABLE = """const look = () => {
  if (%s) setTimeout(() => { globalThis.usable = performance.now(); });
  else requestAnimationFrame(look);
}; look();"""
"""Notes when the page has drawn and answers the next event."""
SCENES = {"2,000 points": ("paradigms", POINTS), "paradigms play": ("paradigms", PLAY), "map zooms": ("map", ZOOM)}


def processor(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def used(pid: int) -> float:
    """Seconds of processor time of a process and all below it that still run."""
    return sum(processor(process) for process in family(pid) if Path(f"/proc/{process}").exists())


def on_the_main_thread(trace: Path) -> tuple[float, int]:
    """Seconds of processor time of the tasks of the page's main thread, and the frames among them."""
    events = json.loads(trace.read_text())["traceEvents"]
    names = [event for event in events if event["name"] == "thread_name"]
    mains = {(row["pid"], row["tid"]) for row in names if row["args"]["name"] == "CrRendererMain"}
    rows = [row for row in events if row["ph"] == "X" and (row["pid"], row["tid"]) in mains]
    seconds = sum(row.get("tdur", 0) for row in rows if row["name"] == "ThreadControllerImpl::RunTask") / 1e6
    return seconds, sum(row["name"] == "ProxyMain::BeginMainFrame" for row in rows)


def traced(browser: Browser, page: Page, action: Any) -> tuple[float, int]:
    """Seconds and frames of the main thread while something is done."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        browser.start_tracing(page=page, path=path, categories=["toplevel", "cc"])
        action()
        browser.stop_tracing()
        return on_the_main_thread(path)


def scene(browser: Browser, pid: int, address: str, name: str, seconds: float) -> dict[str, Any]:
    """The frames of one scene."""
    view, script = SCENES[name]
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    page.goto(f"{address.partition('?')[0]}#/{view}")
    page.wait_for_selector(f".view.{view} canvas")
    page.wait_for_timeout(1500)
    page.evaluate(script)
    page.evaluate(COUNT)
    page.wait_for_timeout(500)
    first, before, start = page.evaluate("frames_drawn()"), used(pid), time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    frames, all_of_it, wall = page.evaluate("frames_drawn()") - first, used(pid) - before, time.monotonic() - start
    main, more = traced(browser, page, lambda: page.wait_for_timeout(seconds * 1000))
    page.close()
    return {
        "scene": name,
        "frames a second": round(frames / wall, 1),
        "main thread, ms a frame": round(1000 * main / max(more, 1), 2),
        "all processes, ms a frame": round(1000 * all_of_it / max(frames, 1), 2),
    }


def opening(browser: Browser, address: str, cookie: str, view: str) -> dict[str, Any]:
    """The first view, in a browser that has never seen the page."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies([{"name": cookie, "value": TOKEN, "url": address}])
    page = context.new_page()
    page.add_init_script(USABLE % DRAWN[view])
    before = time.process_time()

    def act() -> None:
        page.goto(f"{address}#/{view}")
        page.wait_for_load_state("networkidle")

    main, _ = traced(browser, page, act)
    script = "performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)"
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    row = {
        "view": view,
        "kilobytes": round(page.evaluate(script) / 1000),
        "main thread, s": round(main, 2),
        "server and driver, s": round(time.process_time() - before, 2),
        "first paint on the clock, s": round((painted or 0) / 1000, 2),
        "drawn and answers on the clock, s": round(page.evaluate("globalThis.usable") / 1000, 2),
    }
    context.close()
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--openings", type=int, default=3)
    parser.add_argument("--scenes", nargs="*", choices=[*SCENES])
    options = parser.parse_args()
    listener = bound(0)
    port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as library:
        app = App({}, TOKEN, port, folder=Path(folder))
        threading.Thread(target=server_of(app).run, kwargs={"sockets": [listener]}, daemon=True).start()
        program = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = library.chromium.launch(executable_path=program, args=["--no-sandbox"])
        pid = min(p for p in family(os.getpid()) if _is_browser(p))  # its helpers begin as its copies
        address = f"http://127.0.0.1:{port}/?token={TOKEN}"
        for view in ("paradigms", "map"):
            for _ in range(options.openings):
                print(json.dumps(opening(browser, address.partition("?")[0], f"fourfold-{port}", view)), flush=True)
        for name in options.scenes or SCENES:
            print(
                json.dumps(scene(browser, pid, address, name, options.seconds)),
                flush=True,
            )
        browser.close()


def _is_browser(pid: int) -> bool:
    """Whether a process is chromium itself, not one of its helpers."""
    line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return line[0].endswith(b"chromium") and not any(word.startswith(b"--type=") for word in line)


if __name__ == "__main__":
    main()
