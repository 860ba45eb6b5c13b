"""Ours, the encoder alone, the ceiling above it, and the same graph run in padded batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from secondlook.bench.work import Contender, Prepare, Prepared, Skipped, Work
from secondlook.bundle import Bundle
from secondlook.encoder.session import (
    MODEL,
    Encoded,
    TransformerEvidenceModel,
    open_graph,
    passage_scores,
)
from secondlook.encoder.windows import Window
from secondlook.schema import Span
from secondlook.scorer import Batch, Scorer
from secondlook.text import split_passages

PADDED_BATCH = 32
OURS = "ours"
ENCODER = "encoder alone"
BARE = "int8 products"
QUANTISING = "int8 products, quantising"


def own_contenders(bundle: Bundle, model: TransformerEvidenceModel) -> list[Prepare]:
    """Everything that needs no more than scoring does, and the ceilings, which need onnx."""
    scorer = Scorer(bundle)
    side_by_side = f"{model.threads} windows side by side"

    def ours(work: Work) -> None:
        waiting: deque[list[Span]] = deque()
        for scored in scorer.log_odds(_split(work.narratives, waiting)):
            scorer.outcome(waiting.popleft(), *scored)

    def encoder(work: Work) -> None:
        with ThreadPoolExecutor(model.threads) as pool:
            deque(pool.map(model.encode, [window.ids for window in work.windows]), maxlen=0)

    return [
        Prepared(OURS, lambda _: Contender(OURS, side_by_side, ours)),
        Prepared(ENCODER, lambda _: Contender(ENCODER, side_by_side, encoder)),
        Prepared(BARE, lambda _: _products(BARE, model, quantising=False)),
        Prepared(QUANTISING, lambda _: _products(QUANTISING, model, quantising=True)),
        Prepared("padded batches", lambda _: _padded(scorer, model)),
    ]


def _split(narratives: Sequence[str], waiting: deque[list[Span]]) -> Iterator[Batch]:
    for narrative in narratives:
        waiting.append(split_passages(narrative))
        yield [narrative], [waiting[-1]]


def _padded(scorer: Scorer, model: TransformerEvidenceModel) -> Contender:
    """The same graph as ONNX Runtime opens it, all cores to one run, windows in the order of the input."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = model.threads
    options.log_severity_level = 3
    session = ort.InferenceSession(model.to_files()[MODEL], options, providers=["CPUExecutionProvider"])
    masked = any(given.name == "attention_mask" for given in session.get_inputs())

    def encode(windows: Sequence[Window]) -> list[Encoded]:
        longest = max(len(window.ids) for window in windows)
        ids = np.array([np.pad(window.ids, (0, longest - len(window.ids))) for window in windows])
        mask = np.array([np.arange(longest) < len(window.ids) for window in windows]).astype(np.int64)
        # A graph without a mask reads the padding as text: other scores, and if anything less to do.
        scores, weights = session.run(None, {"input_ids": ids} | ({"attention_mask": mask} if masked else {}))
        return [(s[: len(w.ids)], v[: len(w.ids)]) for s, v, w in zip(scores, weights, windows, strict=True)]

    def run(work: Work) -> None:
        passages = [split_passages(narrative) for narrative in work.narratives]
        cut = [model.cut(*one) for one in zip(work.narratives, passages, strict=True)]
        windows = [window for own in cut for window in own]
        batches = (windows[at : at + PADDED_BATCH] for at in range(0, len(windows), PADDED_BATCH))
        encoded = (outcome for batch in batches for outcome in encode(batch))
        for own, spans in zip(cut, passages, strict=True):
            outputs = [next(encoded) for _ in own]
            scorer.outcome(spans, passage_scores(own, outputs, len(spans), len(model.modes)))

    how = f"ONNX Runtime int8, batches of {PADDED_BATCH}, {model.threads} threads"
    return Contender("padded batches", how, run)


def _products(name: str, model: TransformerEvidenceModel, *, quantising: bool) -> Contender | Skipped:
    """Every product with one of the encoder's int8 matrices, for every window, side by side as the encoder runs."""
    if find_spec("onnx") is None:
        return Skipped(name, "onnx is not installed: pip install 'secondlook[train]'")
    matrices = _matrices(model.to_files()[MODEL])
    if not matrices:
        return Skipped(name, "the encoder has no int8 matrices (quantise: false)")
    session = open_graph(_products_graph(matrices, quantising=quantising))
    draw = np.random.default_rng(0)
    rows = {
        width: draw.normal(size=(model.config.window_tokens, width)).astype(np.float32)
        if quantising
        else draw.integers(0, 255, (model.config.window_tokens, width)).astype(np.uint8)
        for width in sorted({matrix.shape[0] for matrix in matrices})
    }

    def multiply(window: Window) -> None:
        session.run(None, {f"rows_{width}": values[: len(window.ids)] for width, values in rows.items()})

    def run(work: Work) -> None:
        with ThreadPoolExecutor(model.threads) as pool:
            deque(pool.map(multiply, work.windows), maxlen=0)

    def operations(work: Work) -> float:
        return 2.0 * sum(matrix.size for matrix in matrices) * sum(len(window.ids) for window in work.windows)

    what = "DynamicQuantizeMatMul, float to float" if quantising else "MatMulInteger, 8 bits to 32"
    return Contender(name, what, run, operations)


def _matrices(graph: bytes) -> list[NDArray[np.int8]]:
    """The constant matrices of a quantised graph's products, in order. *Shape of each:* ``(width, outputs)``."""
    import onnx

    model = onnx.load_from_string(graph)
    constants = {constant.name: constant for constant in model.graph.initializer}
    products = [node.input[1] for node in model.graph.node if node.op_type == "MatMulInteger"]
    return [onnx.numpy_helper.to_array(constants[name]) for name in products if name in constants]


def _products_graph(matrices: Sequence[NDArray[np.int8]], *, quantising: bool) -> bytes:
    """A graph of products alone; only a row of each leaves it, so that no time goes into handing results over."""
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.FLOAT if quantising else TensorProto.UINT8
    result = TensorProto.FLOAT if quantising else TensorProto.INT32
    nodes, outputs = [], []
    constants = [
        numpy_helper.from_array(np.array(0), "first"),
        numpy_helper.from_array(np.array(128, np.uint8), "zero"),
    ]
    for i, matrix in enumerate(matrices):
        rows = f"rows_{matrix.shape[0]}"
        constants.append(numpy_helper.from_array(matrix, f"matrix_{i}"))
        if quantising:
            constants.append(numpy_helper.from_array(np.full(matrix.shape[1], 0.01, np.float32), f"scale_{i}"))
            given = [rows, f"matrix_{i}", f"scale_{i}"]
            nodes.append(helper.make_node("DynamicQuantizeMatMul", given, [f"all_{i}"], domain="com.microsoft"))
        else:
            nodes.append(helper.make_node("MatMulInteger", [rows, f"matrix_{i}", "zero"], [f"all_{i}"]))
        nodes.append(helper.make_node("Gather", [f"all_{i}", "first"], [f"row_{i}"], axis=0))
        outputs.append(helper.make_tensor_value_info(f"row_{i}", result, [matrix.shape[1]]))
    widths = sorted({matrix.shape[0] for matrix in matrices})
    inputs = [helper.make_tensor_value_info(f"rows_{width}", kind, ["tokens", width]) for width in widths]
    graph = helper.make_graph(nodes, "products", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
