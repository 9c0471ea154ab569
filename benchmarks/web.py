"""The page under load: 50 clients for two minutes, none of whose requests may be lost, while memory stays flat.

``python benchmarks/web.py [--clients 50] [--seconds 120]``: the clients open the page, read the map, place texts and
draw samples of a run of the zoo, on loopback. Prints one JSON object. Seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

RUN = "/api/runs/zoo/two-moons/adversarial"
TEXTS = (
    "Stable Diffusion",
    "The generator fools a discriminator.",
    "A U-Net is trained to predict the noise that was added to an image.",
)
ASKED = [
    *(("GET", path, None) for path in ("/", "/shell.js", "/map.js", "/style.css", "/vendor/d3.js", "/api/map.json")),
    *(("POST", "/api/place", {"text": text}) for text in TEXTS),
    ("POST", f"{RUN}/sample", {"n": 16}),
    ("GET", f"{RUN}/about.json", None),
]


class Client(threading.Thread):
    """Asks one thing after the other until the time is over."""

    def __init__(self, port: int, token: str, seed: int, end: float) -> None:
        super().__init__(daemon=True)
        self.port, self.token, self.end = port, token, end
        self.random, self.times, self.lost = random.Random(seed), list[float](), Counter[str]()

    def run(self) -> None:
        while time.monotonic() < self.end:
            method, path, body = self.random.choice(ASKED)
            start = time.monotonic()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                headers = {"Authorization": f"Bearer {self.token}"}
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.lost[f"{path}: {error}"] += 1
                continue
            if answer.status != 200 or b'"error"' in content[-200:]:
                self.lost[f"{path}: {answer.status}"] += 1
            self.times.append(time.monotonic() - start)
            time.sleep(self.random.random() / 5)


def resident(pid: int) -> float:
    """Megabytes of memory of a process."""
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else 0.0


def processor(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    command = [sys.executable, "-m", "fourfold", "serve", "--port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = next(line for line in server.stdout if line.startswith("page:"))
        port, token = int(address.rpartition(":")[2].partition("/")[0]), address.strip().partition("token=")[2]
        Client(port, token, 0, time.monotonic() + 10).run()  # torch and the models are loaded
        memory, used, end = [resident(server.pid)], processor(server.pid), time.monotonic() + options.seconds
        clients = [Client(port, token, seed, end) for seed in range(1, options.clients + 1)]
        for client in clients:
            client.start()
        while time.monotonic() < end:
            time.sleep(options.seconds / 12)
            memory.append(resident(server.pid))
        for client in clients:
            client.join(90)
        times = sorted(seconds for client in clients for seconds in client.times)
        lost = sum((client.lost for client in clients), Counter[str]())
        print(
            json.dumps(
                {
                    "clients": options.clients,
                    "seconds": options.seconds,
                    "requests": len(times),
                    "lost": dict(lost),
                    "median_seconds": times[len(times) // 2],
                    "slowest_seconds": times[-1],
                    "processor_seconds": round(processor(server.pid) - used, 1),
                    "memory_megabytes": [round(value) for value in memory],
                }
            )
        )
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
