"""Quantisation of weights and activations, and the packing of codes."""
