"""Learning from rewards: each is stored once, queued, added to the sums and published; rebuilding proves the
result.
"""
