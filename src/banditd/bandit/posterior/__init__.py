"""What is known about every arm: additive sums, their epochs, ridge posteriors, evidence and priors."""
