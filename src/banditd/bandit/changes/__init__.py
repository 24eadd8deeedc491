"""Arms that change: detecting it (CUSUM tests, shifts of the queries), and discounting the older evidence."""
