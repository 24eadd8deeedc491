"""Floor 0: the words of the domain. Types and errors; imports nothing of banditd."""
