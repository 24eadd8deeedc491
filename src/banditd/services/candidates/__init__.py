"""Candidates for a policy: what they are, and what the log says of them."""
