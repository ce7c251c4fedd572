"""ONNX Runtime on the CPU: the back end that runs everywhere.

Measured on two cores: threads = cores (one thread takes 1.4 to 1.7 times as long), all graph optimisations
(1.3 to 1.4 times, for its blocked layout), sequential execution (parallel takes 2.3 times as long), kept
buffers bound once. One session per process: spinning sessions disturb each other.

The only file that sees onnxruntime, which has no types.
"""

import os
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.backend import BackendError

_WARNINGS_OFF = 3


class OnnxBackend:
    """A network on ONNX Runtime's CPU provider. Used from one thread.

    Args:
        model: the ONNX file's bytes; its one input is uint8 [N, height, width, 3], all sizes fixed.
        source: what the bytes are, for messages.
        threads: threads of the network; None for one a core that this process may use.

    Raises:
        BackendError: if the runtime cannot load it, or its input or output is not what a package's model has.
    """

    def __init__(self, model: bytes, source: str, threads: int | None = None) -> None:
        self.name = f"onnxruntime-{onnxruntime.__version__}-cpu"
        self._source = source
        self._session = _load(model, source, threads or len(os.sched_getaffinity(0)))
        (entry,), (result,) = self._session.get_inputs(), self._session.get_outputs()
        self._entry_name = str(entry.name)
        self.input_shape = _input_shape(entry, source)
        self.output_shape = _output_shape(result, source)
        self._answer: NDArray[np.float32] = np.empty(self.output_shape, np.float32)
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_output(
            result.name, onnxruntime.OrtValue.ortvalue_from_numpy(self._answer)
        )
        self._bound: NDArray[np.uint8] | None = None

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one batch of `input_shape`. The array returned is overwritten by the next call.

        A batch handed in again (the letterbox's kept buffer) is not bound again.

        Raises:
            BackendError: if the batch has another shape or type, or the runtime fails.
        """
        if batch is not self._bound:
            self._bind(batch)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the runtime's exceptions share no base class of its own
            raise BackendError(
                f"{self._source}: ONNX Runtime failed while running it: {error}. Restart the vision process; "
                "if it happens again, go back to the previous package"
            ) from error
        return self._answer

    def _bind(self, batch: NDArray[np.uint8]) -> None:
        if batch.shape != self.input_shape or batch.dtype != np.uint8 or not batch.flags.c_contiguous:
            raise BackendError(
                f"{self._source}: takes contiguous uint8 {list(self.input_shape)}, was given {batch.dtype} "
                f"{list(batch.shape)}: fit the picture with inference.yolo.Letterbox"
            )
        self._binding.bind_ortvalue_input(self._entry_name, onnxruntime.OrtValue.ortvalue_from_numpy(batch))
        self._bound = batch


def _load(model: bytes, source: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _WARNINGS_OFF
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no base class of its own
        raise BackendError(
            f"{source}: ONNX Runtime {onnxruntime.__version__} cannot load it: {error}. Export it "
            "again with an opset that this version knows"
        ) from error
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise BackendError(f"{source}: a detector has one input and one output; export it without extra ones")
    return session


def _input_shape(entry: Any, source: str) -> tuple[int, int, int, int]:
    shape = tuple(entry.shape)
    if entry.type != "tensor(uint8)" or len(shape) != 4 or not _fixed(shape) or shape[3] != 3:
        raise BackendError(
            f"{source}: its input is {entry.type} {list(shape)}, not uint8 [N, height, width, 3] of fixed "
            "size: pack it with cloud_receiver.training.pack, which folds the preparation into the network"
        )
    return shape[0], shape[1], shape[2], shape[3]


def _output_shape(result: Any, source: str) -> tuple[int, ...]:
    shape = tuple(result.shape)
    if result.type != "tensor(float)" or not _fixed(shape):
        raise BackendError(
            f"{source}: its output is {result.type} {list(shape)}, not float32 of fixed size: export it with "
            "dynamic=False and without half precision"
        )
    return tuple(int(length) for length in shape)


def _fixed(shape: tuple[Any, ...]) -> bool:
    return all(isinstance(length, int) and length > 0 for length in shape)
