"""``kind: litellm`` with the real package, where it is: in an environment of its own, as for the bench."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from bench.gateway.servers import LITELLM, upstream

ROOT = Path(__file__).resolve().parents[2]
CLASSES = {
    "401": "auth", "429-after": "overload", "400-context": "context", "400-policy": "policy", "500": "server",
    "silent": "timeout",
}  # fmt: skip
CUT = ("cut", "eof", "error-second")


@pytest.mark.skipif(not LITELLM.exists(), reason="LiteLLM is not installed here: `make litellm` does it")
def test_the_real_package_answers_and_fails_in_our_classes() -> None:
    more = str(Path(aiohttp.__file__).parents[1])
    script = ROOT / "tests" / "gateway" / "litellm_calls.py"
    with upstream() as up:
        called = subprocess.run(
            [str(LITELLM.with_name("python")), str(script), str(ROOT / "src"), more, up.base, "ok", *CUT, *CLASSES],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    told: dict[str, dict[str, Any]] = {one["name"]: one for one in map(json.loads, called.stdout.splitlines())}
    assert set(told) == {"ok", *CUT, *CLASSES}, called.stderr[-2000:]
    hello = told["ok"]["whole"][0]
    assert (told["ok"]["whole"], told["ok"]["stream"]) == ([hello, 5], [hello, 5, True])
    for name, error_class in CLASSES.items():
        assert (told[name]["whole"][0], told[name]["stream"][0]) == (error_class, error_class), name
    for name in CUT:  # never an end that looks whole
        assert told[name]["stream"][0] in {"transport", "server"}, name
    assert "sk-secret-key" not in called.stdout + called.stderr
