"""Keys that are this database's own: shared by its replicas, carried along by its copies, unknown outside."""

from __future__ import annotations

from typing import Protocol


class Secrets(Protocol):
    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose, the same in every replica; another purpose's key tells nothing about it.

        purpose : a constant of the program such as ``input_hash``, never what a client sent. Not empty.
        """
