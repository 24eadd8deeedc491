"""Promises, rollouts and modes of policies: what is in force, keeping it, and reporting it."""
