"""The one decision, pure: no clock, no I/O, randomness is an argument."""
