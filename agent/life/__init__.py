"""One emulated chip's long life on an accelerated clock, with and without an agent beside it."""
