"""Candidates for a policy, and their evaluation from the log."""
