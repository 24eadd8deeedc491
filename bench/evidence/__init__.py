"""``make bench-evidence``: do the statistics of judges hold what they say? Simulated, so the truth is known."""
