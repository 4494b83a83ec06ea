"""A SavedModel in TensorFlow's C++ session, loaded by the C++ loader: what TensorFlow Serving does.

Through the C API and not `tf.compat.v1.Session`: `tf.compat.v1.saved_model.load` imports the graph
in Python, another loader with its own behaviour.
"""

import contextlib
import ctypes
import math
import pathlib
from collections.abc import Iterator

import numpy as np
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from serving import tensors
from serving.embedded import c_api
from serving.errors import CODES, ServingError

# TF_DataType of tensorflow/c/tf_datatype.h.
_STRING = 7
_DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 9: np.int64, 10: np.bool_}


@contextlib.contextmanager
def _status() -> Iterator[ctypes.c_void_p]:
    """A TF_Status; raises ServingError if a call left an error in it."""
    api = c_api.library()
    status = api.TF_NewStatus()
    try:
        yield status
        if code := api.TF_GetCode(status):
            name = CODES[code] if code < len(CODES) else "UNKNOWN"
            raise ServingError(name, api.TF_Message(status).decode(errors="replace"))
    finally:
        api.TF_DeleteStatus(status)


class CSession:
    """One loaded version. `run` may be called from several threads.

    Attributes:
        signatures: name → SignatureDef of the SavedModel.
    """

    def __init__(self, path: pathlib.Path):
        """Loads a version folder.

        Raises:
            ServingError: no usable SavedModel with the tag "serve" in it.
        """
        api = c_api.library()
        # Else TensorFlow takes all of a GPU's memory, which other servers may need as well.
        config = config_pb2.ConfigProto(gpu_options={"allow_growth": True}).SerializeToString()
        # A SavedModel may hold several graphs; exports have this one tag, which is TensorFlow
        # Serving's.
        tags = (ctypes.c_char_p * 1)(b"serve")
        options, meta_graph = api.TF_NewSessionOptions(), api.TF_NewBuffer()
        self._session = None
        self._graph = api.TF_NewGraph()
        try:
            # One status a call, or the second would overwrite an error of the first.
            with _status() as status:
                api.TF_SetConfig(options, config, len(config), status)
            with _status() as status:
                self._session = api.TF_LoadSessionFromSavedModel(
                    options, None, str(path).encode(), tags, 1, self._graph, meta_graph, status
                )
            # A copy, since the buffer is freed below.
            data = ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        except ServingError:
            self.close()
            raise
        finally:
            api.TF_DeleteBuffer(meta_graph)
            api.TF_DeleteSessionOptions(options)
        self.signatures = dict(meta_graph_pb2.MetaGraphDef.FromString(data).signature_def)

    def close(self) -> None:
        """Frees the weights. No `run` may be under way or follow."""
        api = c_api.library()
        if self._session:
            with _status() as status:
                api.TF_CloseSession(self._session, status)
            with _status() as status:
                api.TF_DeleteSession(self._session, status)
        # Last, since the session uses it.
        api.TF_DeleteGraph(self._graph)

    def run(
        self,
        feeds: dict[str, np.ndarray],
        fetches: list[str],
        timeout: float,
    ) -> list[np.ndarray]:
        """Runs the graph once.

        Args:
            feeds: tensor name, such as "serving_default_seed:0", → value; byte strings as object
                arrays.
            fetches: tensor names.
            timeout: seconds. When they have passed, the run is stopped between two operations.

        Returns:
            Copies of the values, in the order of `fetches`.

        Raises:
            ServingError: what TensorFlow reports, DEADLINE_EXCEEDED among it.
        """
        api = c_api.library()
        # Null pointers, which the library replaces: those of a failed run stay null.
        results = (c_api.POINTER * len(fetches))()
        # 0 would mean no limit.
        milliseconds = max(1, math.ceil(timeout * 1000))
        run_options = config_pb2.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
        buffer = api.TF_NewBufferFromString(run_options, len(run_options))
        # What is allocated here must be freed after the run, whether it succeeds or fails.
        with contextlib.ExitStack() as tensors_in_use:
            tensors_in_use.callback(api.TF_DeleteBuffer, buffer)
            values = (c_api.POINTER * len(feeds))(
                *(tensors_in_use.enter_context(_tensor(value)) for value in feeds.values())
            )
            inputs, outputs = self._outputs(list(feeds)), self._outputs(fetches)
            tensors_in_use.callback(_delete_tensors, results)
            with _status() as status:
                fed = inputs, values, len(feeds)
                fetched = outputs, results, len(fetches)
                no_targets, no_metadata = (None, 0), None
                api.TF_SessionRun(
                    self._session, buffer, *fed, *fetched, *no_targets, no_metadata, status
                )
            return [_array(result) for result in results if result]

    def _outputs(self, names: list[str]) -> ctypes.Array:
        outputs = (c_api.Output * len(names))()
        for output, name in zip(outputs, names, strict=True):
            # "serving_default_seed:0" is output 0 of that operation.
            operation, _, index = name.partition(":")
            output.oper = c_api.library().TF_GraphOperationByName(self._graph, operation.encode())
            output.index = int(index or 0)
            if not output.oper:
                raise ServingError(
                    "INTERNAL",
                    f"the graph has no operation {operation}, which a signature names",
                )
        return outputs


def _delete_tensors(pointers: ctypes.Array) -> None:
    for pointer in pointers:
        if pointer:
            c_api.library().TF_DeleteTensor(pointer)


@contextlib.contextmanager
def _tensor(array: np.ndarray) -> Iterator[int]:
    """A TF_Tensor with a copy of the array."""
    api = c_api.library()
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    if array.dtype != object:
        dtype = next(number for number, dtype in _DTYPES.items() if dtype == array.dtype)
        pointer = api.TF_AllocateTensor(dtype, shape, array.ndim, array.nbytes)
        # memmove knows no strides.
        contiguous = np.ascontiguousarray(array)
        ctypes.memmove(api.TF_TensorData(pointer), contiguous.ctypes.data, array.nbytes)
        strings: list[int] = []
    else:
        # A tensor of strings owns each of them apart: 24 bytes that may point to a longer text.
        pointer = api.TF_AllocateTensor(
            _STRING,
            shape,
            array.ndim,
            array.size * c_api.TSTRING_BYTES,
        )
        first = api.TF_TensorData(pointer)
        strings = [first + i * c_api.TSTRING_BYTES for i in range(array.size)]
        for string, value in zip(strings, array.ravel().tolist(), strict=True):
            api.TF_StringInit(string)
            api.TF_StringCopy(string, value, len(value))
    try:
        yield pointer
    finally:
        for string in strings:
            api.TF_StringDealloc(string)
        api.TF_DeleteTensor(pointer)


def _array(pointer: int) -> np.ndarray:
    """A copy of a TF_Tensor's values."""
    api = c_api.library()
    shape = [api.TF_Dim(pointer, i) for i in range(api.TF_NumDims(pointer))]
    dtype, data = api.TF_TensorType(pointer), api.TF_TensorData(pointer)
    if dtype == _STRING:
        strings = [data + i * c_api.TSTRING_BYTES for i in range(math.prod(shape))]
        values = [
            # With their lengths: a PNG file has bytes of value 0, where a C string would end.
            ctypes.string_at(api.TF_StringGetDataPointer(s), api.TF_StringGetSize(s))
            for s in strings
        ]
        return tensors.byte_strings(values).reshape(shape)
    if dtype not in _DTYPES:
        raise ServingError(
            "UNIMPLEMENTED",
            f"an output of type number {dtype}, which this server does not know",
        )
    array: np.ndarray = np.empty(shape, _DTYPES[dtype])
    ctypes.memmove(array.ctypes.data, data, array.nbytes)
    return array
