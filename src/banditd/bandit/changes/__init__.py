"""Arms that change: detection (CUSUM, shifted queries) and what is then done with older evidence."""
