"""The agent: everything a user starts. `loop.py` is the file to read first."""

__version__ = "0.1.0"
