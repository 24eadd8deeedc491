"""What is known of every arm: additive sums, their epochs, ridge posteriors, evidence and priors."""
