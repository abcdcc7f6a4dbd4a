"""A factory of emulated chips: what each goes through, on many processes, and the sum of it."""
