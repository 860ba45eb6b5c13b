"""From a trained network to what scoring needs: an ONNX graph, in int8."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secondlook.encoder.network import EvidenceEncoder


def to_onnx(network: EvidenceEncoder, quantise: bool) -> bytes:
    """The network as an ONNX graph from ``input_ids`` to ``scores`` and ``weights``.

    There is no mask: windows run one by one and have no padding, and adding zeros to every attention
    score would be work for nothing. Quantised, matrices and embeddings are int8 (symmetric, a scale
    for every channel) and activations are quantised as they pass (Jacob et al. 2018; ONNX Runtime's
    dynamic quantisation).
    """
    graph = _export(network)
    return _quantise(graph) if quantise else graph


class _Unpadded(nn.Module):
    """The network as it is run on windows without padding."""

    def __init__(self, network: EvidenceEncoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        scores, weights = self.network(input_ids, None)
        return scores, weights


def _export(network: EvidenceEncoder) -> bytes:
    network.float()
    network.cpu()
    network.train(False)
    network.encoder.set_attn_implementation("eager")  # products and a softmax, which ONNX has, not a fused kernel
    example = torch.ones((2, 8), dtype=torch.long)
    axes = {0: "windows", 1: "tokens"}
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Unpadded(network),
            (example,),
            buffer,
            input_names=["input_ids"],
            output_names=["scores", "weights"],
            dynamic_axes=dict.fromkeys(("input_ids", "scores", "weights"), axes),
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
