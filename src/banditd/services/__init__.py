"""Floor 3: routing a query, taking a reward, and everything around them. No HTTP, no SQL."""
