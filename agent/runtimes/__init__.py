"""What executes the main path and yields traces: one file a runtime, one protocol for all."""
