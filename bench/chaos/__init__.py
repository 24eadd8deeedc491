"""Breaks the daemon under load, on purpose and in every way on the menu, and checks what it kept. ``make chaos``.

Real processes, real databases, real HTTP. Clients record what they sent and what they were told (``history``); when
a round ends, pure functions compare that with the database (``check``, ``check_sums``).
"""
