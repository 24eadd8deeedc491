"""Logging and metrics: how the daemon is watched. Not a place for decisions."""
