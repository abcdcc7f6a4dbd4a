"""The runtimes that this version has, by the names that bundles and commands give them."""

CIM = "cim"
"""The emulated chip."""

ONNXRUNTIME = "onnxruntime"
"""The processor that the agent runs on."""

TFLITE = "tflite"
"""The same, with ai-edge-litert or tflite-runtime."""

RUNTIMES = (CIM, ONNXRUNTIME, TFLITE)
