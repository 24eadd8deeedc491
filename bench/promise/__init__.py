"""``make bench-promise``: promises kept cold on real pools, beside what hindsight, a coin and a rule by hand save."""
