"""Load from a separate process: ``wrk`` where it is installed, else our own asyncio client over raw sockets.

``python -m bench.load URL CONNECTIONS SECONDS BODIES_FILE`` prints the result of our own client as JSON. It costs
more than wrk, so it can hold back the fastest servers; the report says which of the two was used.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_LUA = """
local file = io.open("{bodies}", "r")
local bodies = {{}}
for line in file:lines() do bodies[#bodies + 1] = line end
file:close()
local requests = {{}}
local index = 0
init = function(args)
  for i, body in ipairs(bodies) do
    requests[i] = wrk.format("POST", nil, {{["Content-Type"] = "application/json"}}, body)
  end
  index = math.floor(#requests * 0.37)
end
request = function()
  index = index % #requests + 1
  return requests[index]
end
done = function(summary, latency, requests)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format('RESULT {{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "bad": %d, "lost": %d}}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, lost))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run of load saw. ``bad`` counts answers of 400 and above, ``lost`` broken connections."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    bad: int
    lost: int

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds


def tool() -> str:
    return "wrk" if shutil.which("wrk") else "own client"


def drive(url: str, bodies: list[bytes], *, connections: int, seconds: float) -> Load:
    """POST the bodies in turn to ``url`` over so many connections for so long."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bodies"
        file.write_bytes(b"\n".join(bodies) + b"\n")
        if tool() == "wrk":
            script = Path(folder) / "post.lua"
            script.write_text(_LUA.format(bodies=file), encoding="utf-8")
            command = [
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds:g}s",
                "--timeout",
                "10s",
                "-s",
                str(script),
                url,
            ]
        else:
            command = [sys.executable, "-m", "bench.load", url, str(connections), f"{seconds:g}", str(file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return Load(**json.loads(line.removeprefix("RESULT ")))
    raise RuntimeError(f"no result from {command[0]}: {done.stdout[-500:]} {done.stderr[-500:]}")


async def _client(host: str, port: int, requests: list[bytes], start: int, until_s: float, seen: list[float]) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    index, bad = start, 0
    while time.perf_counter() < until_s:
        began = time.perf_counter()
        writer.write(requests[index % len(requests)])
        index += 1
        head = await reader.readuntil(b"\r\n\r\n")
        await _skip_body(reader, head.lower())
        seen.append(time.perf_counter() - began)
        bad += int(head[9:12]) >= 400
    writer.close()
    return bad


async def _skip_body(reader: asyncio.StreamReader, head: bytes) -> None:
    """Read to the end of an answer: of the length that its head (lower case) states, or in chunks."""
    if b"content-length:" in head:
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        await reader.readexactly(size + 2)
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass


async def _own(url: str, connections: int, seconds: float, bodies: list[bytes]) -> None:
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    seen: list[float] = []
    began = time.perf_counter()
    clients = [
        _client(parts.hostname or "", parts.port or 80, requests, 37 * i, began + seconds, seen)
        for i in range(connections)
    ]
    bad = sum(await asyncio.gather(*clients))
    seen.sort()
    result = {
        "requests": len(seen),
        "seconds": time.perf_counter() - began,
        "p50_ms": seen[len(seen) // 2] * 1e3,
        "p99_ms": seen[int(len(seen) * 0.99)] * 1e3,
        "bad": bad,
        "lost": 0,
    }
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    import uvloop

    address, width, length_s, bodies_file = sys.argv[1:]
    uvloop.run(_own(address, int(width), float(length_s), Path(bodies_file).read_bytes().splitlines()))
