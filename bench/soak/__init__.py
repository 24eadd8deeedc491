"""Traffic through real daemons for long, and whether anything grows: memory, threads, files, rows, latency."""
