"""How jobs that read the log page through it."""

from typing import Final

BATCH: Final = 500  # rows of one transaction
OVERLAP_US: Final = 600 * 1_000_000
"""Decisions commit slightly later than their time stamp; jobs look back this far so as to miss none."""
