"""Rooms of the benchmark of runtimes (tools/bench_runtimes.py)."""
