"""Everything a user starts: the closed loop, its runtimes and store, and the command line."""

__version__ = "0.1.0"
