"""How long daemons of tests wait for a database that a busy machine keeps from answering: longer than a user would.

For tests that are not about these waits. With the defaults, a process that gets no processor for three seconds inside
a transaction has lost it.
"""

from __future__ import annotations

from typing import Final

PATIENT: Final = {"transaction_s": 300.0, "lock_s": 120.0, "silence_s": 60.0}
"""Settings of the section ``database``, and arguments of ``Deadlines``."""
