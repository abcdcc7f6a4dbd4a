"""What the benchmark of precisions is made of."""
