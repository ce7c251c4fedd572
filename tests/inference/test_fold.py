import numpy as np
import onnx
import onnxruntime
import pytest

from inference.backend_onnx import OnnxBackend
from inference.fold import CannotFold, fold
from tests.support.tiny_network import HEIGHT_PX, WIDTH_PX, float_network, sigmoid_network


def test_folding_moves_no_score_by_more_than_a_hundred_thousandth() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (1, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    plain = onnxruntime.InferenceSession(float_network(), providers=["CPUExecutionProvider"])
    rgb = np.ascontiguousarray(picture[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32) / 255
    (expected,) = plain.run(None, {"images": rgb})
    folded = OnnxBackend(fold(float_network()), "folded").run(picture)
    assert np.abs(folded - expected).max() <= 1e-5


def test_a_folded_network_takes_the_cameras_pixels() -> None:
    backend = OnnxBackend(fold(float_network(height_px=64, width_px=128)), "folded")
    assert backend.input_shape == (1, 64, 128, 3)


def test_a_network_that_is_folded_already_is_refused() -> None:
    with pytest.raises(CannotFold, match="not \\[N, 3, height, width\\]"):
        fold(fold(float_network()))


def test_a_network_that_does_not_begin_with_a_convolution_is_refused() -> None:
    with pytest.raises(CannotFold, match="feeds \\['Sigmoid'\\], not one Conv"):
        fold(sigmoid_network())


def test_the_licence_stays_in_the_file_and_the_trainers_paths_do_not() -> None:
    network = onnx.load_from_string(float_network())
    told = {"license": "AGPL-3.0", "names": "{0: 'dent'}", "description": "trained on /ann/data.yaml"}
    onnx.helper.set_model_props(network, told)
    folded = onnx.load_from_string(fold(network.SerializeToString()))
    assert {p.key: p.value for p in folded.metadata_props} == {"license": "AGPL-3.0", "names": "{0: 'dent'}"}
