"""Float ONNX and TFLite files to graphs; for the workstation."""
