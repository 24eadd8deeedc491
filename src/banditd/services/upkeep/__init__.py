"""Background work on stored data: defaults, retention, integrity, export."""
