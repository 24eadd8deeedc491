"""Chains (cascades): look at the signals of an answer, then keep it or call another arm. Pure; no clock, no I/O."""
