"""Measurements of the running daemon against its targets. ``python -m bench --help``; not part of the package."""
