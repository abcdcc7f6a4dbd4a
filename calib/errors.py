"""Errors of the mathematics.

    CalibError                  anything below that a caller may want to catch at once
    ├── GraphError              a graph that cannot be read, typed or run
    │   └── UnsupportedError    an operation, or a form of it, that is not implemented
    ├── SampleError             samples of a wrong shape, type, range or number
    ├── SolveError              sums from which no sensible factors follow
    └── TrainingError           training that diverges

Every message says what is wrong, where, both values, and what to do.
"""

from __future__ import annotations


class CalibError(Exception):
    """Base of all errors raised by `calib`."""


class GraphError(CalibError):
    """A graph that cannot be read, typed or run."""


class UnsupportedError(GraphError):
    """An operation, or a form of it, that is not implemented."""


class SampleError(CalibError):
    """Samples of a wrong shape, type, range or number."""


class SolveError(CalibError):
    """Sums from which no sensible factors follow."""


class TrainingError(CalibError):
    """Training that diverges."""
