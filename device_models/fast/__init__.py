"""A statistically equal form of bit-plane arrays, for sweeps."""
