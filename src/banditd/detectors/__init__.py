"""What is looked for in a query's text before anything is learned: patterns, and things with a name."""
