"""banditd: a daemon that learns which large language model should answer which query."""

__version__ = "0.1.0"
