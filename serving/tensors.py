"""NumPy arrays ↔ TensorProto messages, as tensorflow/core/framework/tensor.proto defines them."""

import math
from typing import Any, NamedTuple

import numpy as np

from serving import protocol
from serving.errors import ServingError


class _Kind(NamedTuple):
    """How the protocol has one type of array.

    Attributes:
        number: the DataType.
        field: where values stand when they are not in `tensor_content`.
    """

    number: int
    field: str


_KINDS: dict[np.dtype, _Kind] = {
    np.dtype(np.float32): _Kind(1, "float_val"),
    np.dtype(np.float64): _Kind(2, "double_val"),
    np.dtype(np.int32): _Kind(3, "int_val"),
    np.dtype(np.uint8): _Kind(4, "int_val"),
    np.dtype(object): _Kind(7, "string_val"),
    np.dtype(np.int64): _Kind(9, "int64_val"),
    np.dtype(np.bool_): _Kind(10, "bool_val"),
}


def byte_strings(values: list[bytes]) -> np.ndarray:
    """Object array [len(values)]; NumPy's own byte strings would drop trailing zeros."""
    # Filled afterwards: NumPy makes an array of the bytes' own type from a list of bytes.
    array = np.empty(len(values), object)
    array[:] = values
    return array


def to_proto(array: np.ndarray) -> Any:
    """A TensorProto of a number array, or of byte strings in an object array."""
    kind = _KINDS[array.dtype]
    proto = protocol.TensorProto(dtype=kind.number)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype.hasobject:
        proto.string_val.extend(array.ravel().tolist())
    else:
        # In one block, since single values are packed one by one. Raw bytes are little-endian,
        # whatever this machine is.
        proto.tensor_content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return proto


def to_array(proto: Any) -> np.ndarray:
    """The array in a TensorProto of any form: raw bytes, or single values.

    Of values the last one stands for all that follow; where there is none, that is 0.

    Raises:
        ServingError: a type that the protocol here does not know, or values that do not fit the
            shape.
    """
    dtype = next((dtype for dtype, kind in _KINDS.items() if kind.number == proto.dtype), None)
    if dtype is None:
        raise ServingError(
            "INTERNAL", f"the server sent a tensor of type {proto.dtype}, which is unknown here"
        )
    shape = [dim.size for dim in proto.tensor_shape.dim]
    count = math.prod(shape)
    # A server may choose either form.
    if proto.tensor_content:
        values = np.frombuffer(proto.tensor_content, dtype.newbyteorder("<")).astype(dtype)
    elif dtype.hasobject:
        values = byte_strings(list(proto.string_val))
    else:
        values = np.array(getattr(proto, _KINDS[dtype].field), dtype)
        if len(values) < count:
            rest = np.full(count - len(values), values[-1] if len(values) else 0, dtype)
            values = np.concatenate([values, rest])
    if len(values) != count:
        raise ServingError(
            "INTERNAL", f"the server sent {len(values)} values for a tensor of shape {shape}"
        )
    return values.reshape(shape)
