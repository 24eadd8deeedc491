"""Floor 3: the walk of a query, the walk of a reward, and their neighbours. No HTTP, no SQL."""
