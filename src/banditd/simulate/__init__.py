"""Generated traffic for a daemon: prompts of several task families, and arms whose quality depends on them.

Not a benchmark of routing quality (that is ``banditd replay`` on recorded outcomes): it shows a daemon at
work, and gives tests and demonstrations a world whose truth is known.
"""
