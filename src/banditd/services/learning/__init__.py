"""The walk of a reward: stored once, queued, folded into the sums, published; and the proof by rebuilding."""
