"""Releases: a candidate gets a growing part of the traffic, and is taken back when a test finds it worse."""
