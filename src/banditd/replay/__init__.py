"""Replay of recorded outcomes: any policy against the truth, through the classes that the daemon runs."""
