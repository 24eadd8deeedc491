"""From a cold ``make run`` (everything installed) to the first routed query; and what an import costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.proxy import free_port
from bench.table import Row

SECTION = "Start"
ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 60.0


def measure(folder: Path, *, rounds: int = 3) -> list[Row]:
    # "Everything installed" is the condition of the figure: the first make run of a clone installs.
    subprocess.run(
        ["make", "--no-print-directory", ".venv/.installed-run"], cwd=ROOT, check=True, capture_output=True
    )
    fresh = sorted(_first_answer_s(folder / f"cold-{number}.db") for number in range(rounds))
    again = sorted(_first_answer_s(folder / "cold-0.db") for _ in range(rounds))
    return [
        Row(
            section=SECTION,
            name="make run to the first routed query, new database",
            value=fresh[rounds // 2],
            unit="s",
            target=3.0,
        ),
        Row(
            section=SECTION,
            name="make run to the first routed query, known database",
            value=again[rounds // 2],
            unit="s",
            target=3.0,
        ),
        Row(
            section=SECTION,
            name="import banditd: torch modules loaded",
            value=_torch_modules(),
            unit="",
            target=0,
            detail=True,
        ),
    ]


def _first_answer_s(database: Path) -> float:
    port = free_port()
    environment = {
        **os.environ,
        "BANDITD_DATABASE__URL": f"sqlite:///{database}",
        "BANDITD_LOGGING__LEVEL": "WARNING",
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        ["make", "--no-print-directory", "run", f"PORT={port}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            if _routed(f"http://127.0.0.1:{port}/v1/route"):
                return time.perf_counter() - began
            if process.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                raise RuntimeError("make run did not serve; try it by hand")
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _routed(url: str) -> bool:
    body = json.dumps({"input": "Which model should answer this?"}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"the first query was refused: {error.read()[:300]!r}") from error
    except OSError:
        return False


def _torch_modules() -> float:
    code = (
        "import sys, banditd, banditd.daemon.open; print(sum(name.split('.')[0] == 'torch' for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)
