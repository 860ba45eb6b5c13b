"""From a trained network to what scoring needs: an ONNX graph, in int8."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from secondlook.encoder.network import EvidenceEncoder


def to_onnx(network: EvidenceEncoder, quantise: bool) -> bytes:
    """The network as an ONNX graph from ``input_ids`` and ``attention_mask`` to ``scores`` and ``weights``.

    Quantised, matrices and embeddings are int8 (symmetric, a scale for every channel) and activations
    are quantised as they pass (Jacob et al. 2018; ONNX Runtime's dynamic quantisation).
    """
    graph = _export(network)
    return _quantise(graph) if quantise else graph


def _export(network: EvidenceEncoder) -> bytes:
    network.float()
    network.cpu()
    network.train(False)
    network.encoder.set_attn_implementation("eager")  # traced whole; the fused kernel leaves a mask of ones out
    example = torch.ones((2, 8), dtype=torch.long)
    axes = {0: "windows", 1: "tokens"}
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example, example),
            buffer,
            input_names=["input_ids", "attention_mask"],
            output_names=["scores", "weights"],
            dynamic_axes=dict.fromkeys(("input_ids", "attention_mask", "scores", "weights"), axes),
            opset_version=17,
            dynamo=False,
        )
    return bytes(buffer.getvalue())


def _quantise(graph: bytes) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        plain.write_bytes(graph)
        logging.disable(logging.WARNING)  # it advises a preparation that changes nothing here
        try:
            quantize_dynamic(plain, small, per_channel=True, weight_type=QuantType.QInt8)
        finally:
            logging.disable(logging.NOTSET)
        return small.read_bytes()
