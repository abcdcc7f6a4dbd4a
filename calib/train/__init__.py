"""Training with the project's own gradients, for the workstation."""
