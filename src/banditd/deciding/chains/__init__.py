"""Chains: after an answer its signals are seen, and it is kept or another arm is called. Pure; no clock, no I/O."""
