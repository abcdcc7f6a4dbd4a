"""What an inference in a bit-plane array is estimated to cost."""
