"""Bit-plane SRAM arrays: cells, columns, converters, and the loop over planes."""
