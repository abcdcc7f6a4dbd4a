"""The physics of compute-in-memory arrays, emulated: NumPy only, pure and seeded."""
