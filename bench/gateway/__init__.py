"""The gateway beside what stands at its place: ``python -m bench.gateway``."""
