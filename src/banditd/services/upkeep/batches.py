"""How the jobs that read the log go through it."""

from typing import Final

BATCH: Final = 500  # rows of one transaction
OVERLAP_US: Final = 600 * 1_000_000
"""Decisions commit a little after their time stamp; looking back this far misses none of them."""
