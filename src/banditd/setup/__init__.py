"""From nothing to a configuration of one's own models: what is known, what is there, what is written and tried."""
