"""Measured cells become a device model: likelihoods, drift, goodness of fit, and honest words."""
