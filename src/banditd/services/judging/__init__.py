"""Judges score a share of the answers that the gateway gives; verdicts become rewards, until people contradict."""
