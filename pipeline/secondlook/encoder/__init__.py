"""The transformer evidence model: windows of whole passages, a score for every passage in its context.

``windows`` cuts narratives into what the encoder reads; ``session`` scores with ONNX Runtime and is all
that scoring needs. ``pretrained``, ``network``, ``fitting`` and ``export`` train, and need PyTorch.
"""
