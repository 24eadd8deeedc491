"""What goes over the wire: strict pydantic models, split by topic. They know HTTP's JSON, nothing of SQL."""
