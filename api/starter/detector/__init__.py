"""The detector of the drawn world: its network, what it learns from, its training, its ONNX file and its figures."""
