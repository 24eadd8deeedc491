"""The learner's pure maths: posteriors from sums, policies, propensities. No clock, no I/O, no random generator."""
