"""The operations: each one's forward and vector-Jacobian product stand side by side."""
