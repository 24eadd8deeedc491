"""``make bench-evidence``: do the statistics of judges and releases hold what they say? Simulated, truth known."""
