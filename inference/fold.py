"""Folds the preparation of pixels into the network: uint8 BGR in, as the camera gives it. Packing time only.

The exported network takes float32 RGB from 0 to 1, channels first. Dividing by 255 and swapping channels are
linear and the first convolution is too, so both go into its weights (scores move by less than 1e-6); turning
height x width x 3 around and the cast become the first two nodes. The box then prepares a picture by scaling
it, 0.2 ms instead of 1 to 4 (measured on 1280 x 1024 to 640).
"""

from typing import Any

_TELLING = {"license", "names", "stride", "task"}


class CannotFold(ValueError):
    """The network does not begin as YOLO does. The message says what was found."""


def fold(model: bytes) -> bytes:
    """The network with uint8 [N, height, width, 3] BGR input for one with float32 [N, 3, height, width] RGB.

    Raises:
        CannotFold: if its input has another shape, or feeds anything but one convolution with weights.
    """
    import onnx

    network = onnx.load_from_string(model)
    graph = network.graph
    (entry,) = graph.input
    batch, channels, height, width = (d.dim_value for d in entry.type.tensor_type.shape.dim)
    if channels != 3 or not all((batch, height, width)):
        raise CannotFold(
            f"the input is {[batch, channels, height, width]}, not [N, 3, height, width] of fixed size"
        )
    readers = [node for node in graph.node if entry.name in node.input]
    if [node.op_type for node in readers] != ["Conv"]:
        raise CannotFold(
            f"the input feeds {[node.op_type for node in readers]}, not one Conv: export it plainly"
        )
    _scale_weights(graph, readers[0].input[1])
    readers[0].input[0] = "pixels_float"
    graph.node.insert(0, onnx.helper.make_node("Transpose", ["pixels"], ["pixels_chw"], perm=[0, 3, 1, 2]))
    graph.node.insert(
        1, onnx.helper.make_node("Cast", ["pixels_chw"], ["pixels_float"], to=onnx.TensorProto.FLOAT)
    )
    graph.input.remove(entry)
    pixels = onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, [batch, height, width, 3])
    graph.input.append(pixels)
    _keep_metadata(network)
    onnx.checker.check_model(network)
    return bytes(network.SerializeToString())


def _keep_metadata(network: Any) -> None:
    """Drop what tells of the machine that trained it (paths, dates), keep what tells of the network."""
    kept = [prop for prop in network.metadata_props if prop.key in _TELLING]
    values = {prop.key: prop.value for prop in kept}
    del network.metadata_props[:]
    for key, value in sorted(values.items()):
        network.metadata_props.add(key=key, value=value)


def _scale_weights(graph: Any, name: str) -> None:
    """Divide a convolution's weights [out, 3, k, k] by 255 and turn their input channels around, in place."""
    import numpy as np
    import onnx

    weights = [tensor for tensor in graph.initializer if tensor.name == name]
    if len(weights) != 1 or sum(name in node.input for node in graph.node) != 1:
        raise CannotFold(
            "the first convolution's weights are not its own: export the network with simplify=True"
        )
    scaled = onnx.numpy_helper.to_array(weights[0])[:, ::-1].astype(np.float64) / 255
    weights[0].CopyFrom(onnx.numpy_helper.from_array(scaled.astype(np.float32), name))
