"""A network as a graph of operations with ONNX names and semantics, and its NumPy executor."""
