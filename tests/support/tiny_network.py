"""Networks of a few weights with YOLO's inputs and outputs, for tests that need no trained one."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HEIGHT_PX, WIDTH_PX, CLASSES = 64, 96, ("dent", "scratch")
ANCHORS = (HEIGHT_PX // 8) * (WIDTH_PX // 8)


def float_network(seed: int = 1, height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX) -> bytes:
    """As exported: float32 [1, 3, height, width] RGB from 0 to 1; one convolution, then the raw layout."""
    weights = np.random.default_rng(seed).normal(0, 0.3, (4 + len(CLASSES), 3, 8, 8)).astype(np.float32)
    anchors = (height_px // 8) * (width_px // 8)
    return _saved(
        [
            helper.make_node("Conv", ["images", "w"], ["cells"], strides=[8, 8]),
            helper.make_node("Sigmoid", ["cells"], ["scores"]),
            helper.make_node("Reshape", ["scores", "shape"], ["output0"]),
        ],
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, height_px, width_px]),
        [1, 4 + len(CLASSES), anchors],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([1, 4 + len(CLASSES), anchors], np.int64), "shape"),
        ],
    )


def sigmoid_network() -> bytes:
    """Takes what an exported network takes, and has no convolution."""
    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT_PX, WIDTH_PX])
    nodes = [helper.make_node("Sigmoid", ["images"], ["output0"])]
    return _saved(nodes, entry, [1, 3, HEIGHT_PX, WIDTH_PX], [])


def constant_network(output: NDArray[np.float32]) -> bytes:
    """Takes uint8 [1, height, width, 3] and always answers `output`, whatever it sees."""
    return _saved(
        [
            helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["float"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "zero"], ["nothing"]),
            helper.make_node("Add", ["answer", "nothing"], ["output0"]),
        ],
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, HEIGHT_PX, WIDTH_PX, 3]),
        list(output.shape),
        [
            numpy_helper.from_array(output, "answer"),
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
        ],
    )


def _saved(
    nodes: list[onnx.NodeProto], entry: onnx.ValueInfoProto, shape: list[int], weights: list[onnx.TensorProto]
) -> bytes:
    result = helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "tiny", [entry], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
