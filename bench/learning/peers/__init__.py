"""One small file per peer: the peer as its authors ship it, behind ``Decider``. Its package is imported on use.

Each module has ``PACKAGE`` (the import name, or None) and ``POLICIES``: name -> factory of (prepared, seed).
"""

from types import ModuleType

from bench.learning.peers import (
    contextualbandits,
    free,
    knn,
    linucb,
    mabwiser,
    paretobandit,
    river,
    vowpalwabbit,
)

MODULES: tuple[ModuleType, ...] = (free, linucb, knn, paretobandit, river, mabwiser, vowpalwabbit, contextualbandits)
