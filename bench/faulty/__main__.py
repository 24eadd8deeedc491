"""``python -m bench.faulty``: serve the fault upstream, or list what it can do."""

from __future__ import annotations

import argparse
import asyncio

from bench.faulty.app import serving
from bench.faulty.faults import FAULTS


async def _serve(host: str, port: int) -> None:
    async with serving(host, port) as faulty:
        print(f"the fault upstream listens on {faulty.url}; the model's name picks the fault (--list)", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faulty", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: the kernel chooses")
    parser.add_argument("--list", action="store_true", help="print every model and what it does")
    options = parser.parse_args()
    if options.list:
        for name, fault in FAULTS.items():
            print(f"{name:18} {fault.ending:7} {fault.says}")
        print(
            "once-NAME          the first call of this model gets NAME, the later ones ok; NAME@x: another such model"
        )
        return
    try:
        asyncio.run(_serve(options.host, options.port))
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
