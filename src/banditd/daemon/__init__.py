"""The front door: from settings to running parts (composition root), the price file, sockets and signals."""
