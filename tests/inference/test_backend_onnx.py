from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from inference.backend import Backend, BackendError
from inference.backend_onnx import OnnxBackend
from inference.fold import fold
from tests.support.tiny_network import HEIGHT_PX, WIDTH_PX, constant_network, float_network


@pytest.fixture
def backend() -> OnnxBackend:
    return OnnxBackend(fold(float_network()), "tiny", threads=1)


def test_it_agrees_with_a_plain_run_of_the_same_file_picture_after_picture(backend: OnnxBackend) -> None:
    plain = onnxruntime.InferenceSession(fold(float_network()), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    kept = np.empty((1, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    for _ in range(3):
        kept[:] = rng.integers(0, 256, kept.shape, np.uint8)
        (expected,) = plain.run(None, {"pixels": kept})
        np.testing.assert_allclose(backend.run(kept), expected, atol=1e-6)


def test_another_buffer_is_bound_anew(backend: OnnxBackend) -> None:
    dark, bright = (np.full((1, HEIGHT_PX, WIDTH_PX, 3), grey, np.uint8) for grey in (0, 250))
    first = backend.run(dark).copy()
    assert not np.array_equal(backend.run(bright), first)
    np.testing.assert_array_equal(backend.run(dark), first)


def test_it_fits_the_seam_and_says_what_it_is(backend: OnnxBackend) -> None:
    seam: Backend = backend
    assert seam.name == f"onnxruntime-{onnxruntime.__version__}-cpu"
    assert seam.input_shape == (1, HEIGHT_PX, WIDTH_PX, 3)


@pytest.mark.parametrize(
    "batch",
    [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, HEIGHT_PX, WIDTH_PX, 3), np.float32)],
    ids=["another shape", "another type"],
)
def test_a_batch_that_does_not_fit_is_refused(backend: OnnxBackend, batch: NDArray[Any]) -> None:
    with pytest.raises(BackendError, match="takes contiguous uint8"):
        backend.run(batch)


def test_bytes_that_are_no_network_are_refused_with_their_source() -> None:
    with pytest.raises(BackendError, match=r"broken\.onnx: ONNX Runtime .* cannot load it"):
        OnnxBackend(b"not a network", "broken.onnx")


def test_a_network_with_float_input_is_refused_with_the_next_step() -> None:
    with pytest.raises(BackendError, match="pack it with"):
        OnnxBackend(float_network(), "float")


def test_a_network_that_answers_the_same_always_is_still_a_network() -> None:
    answer = np.arange(24, dtype=np.float32).reshape(1, 6, 4)
    backend = OnnxBackend(constant_network(answer), "constant")
    np.testing.assert_array_equal(backend.run(np.zeros(backend.input_shape, np.uint8)), answer)
