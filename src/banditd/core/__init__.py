"""Floor 0: the domain's types and errors. It imports nothing else from banditd."""
