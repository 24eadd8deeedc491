"""The policies: from a posterior to a probability vector over the eligible arms; one kind per file."""
