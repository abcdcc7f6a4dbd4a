"""The mathematics of recalibration: graph, schemes, references, errors, solvers. NumPy only."""
