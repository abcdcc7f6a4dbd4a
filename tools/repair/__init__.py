"""What `bench_repair.py` breaks and measures: input domains that moved, weights gone bad."""
