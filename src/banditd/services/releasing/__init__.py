"""Releases: a candidate gets a growing part of the traffic, and is rolled back if a test finds it worse."""
