"""The dashboard's files, read from the package once. No build step: what lies there is what a browser gets."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "dashboard"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class DashboardFile:
    """One file, as it is sent. etag : quoted, of its bytes."""

    content_type: str
    body: bytes
    gzipped: bytes
    etag: str


@lru_cache(maxsize=1)
def dashboard_files() -> Mapping[str, DashboardFile]:
    """Path below the folder, with slashes, to its file; licences and notes are not served."""
    return {
        path.relative_to(FOLDER).as_posix(): _read(path)
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in _TYPES and path.is_file()
    }


def _read(path: Path) -> DashboardFile:
    body = path.read_bytes()
    return DashboardFile(
        content_type=_TYPES[path.suffix],
        body=body,
        gzipped=gzip.compress(body, mtime=0),
        etag=f'"{hashlib.sha256(body).hexdigest()[:20]}"',
    )
