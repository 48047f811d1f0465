"""Nets for other runtimes: torch.export and ONNX."""
