"""Float ONNX and TFLite files to graphs; for the workstation."""

from calib.importers.load import load_model

__all__ = ["load_model"]
