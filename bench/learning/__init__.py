"""``make bench-learning``: banditd's policies and the published routers on the same rows, side by side."""
