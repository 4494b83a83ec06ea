"""The part of TensorFlow's C API that runs a SavedModel, through ctypes.

Names and types are those of tensorflow/c/c_api.h.
"""

import ctypes
import functools
import pathlib

import tensorflow as tf

POINTER = ctypes.c_void_p
TSTRING_BYTES = 24  # sizeof(TF_TString), tensorflow/core/platform/ctstring.h


class Output(ctypes.Structure):
    """TF_Output: one output of an operation in a graph."""

    _fields_ = (("oper", POINTER), ("index", ctypes.c_int))


class Buffer(ctypes.Structure):
    """TF_Buffer: bytes that the library hands over."""

    _fields_ = (("data", POINTER), ("length", ctypes.c_size_t), ("deallocator", POINTER))


_INT, _SIZE, _TEXT, _INT64 = ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_int64

# name → (result, arguments)
_FUNCTIONS = {
    "TF_NewStatus": (POINTER, []),
    "TF_DeleteStatus": (None, [POINTER]),
    "TF_GetCode": (_INT, [POINTER]),
    "TF_Message": (_TEXT, [POINTER]),
    "TF_NewBuffer": (ctypes.POINTER(Buffer), []),
    "TF_NewBufferFromString": (ctypes.POINTER(Buffer), [_TEXT, _SIZE]),
    "TF_DeleteBuffer": (None, [ctypes.POINTER(Buffer)]),
    "TF_NewGraph": (POINTER, []),
    "TF_DeleteGraph": (None, [POINTER]),
    "TF_NewSessionOptions": (POINTER, []),
    "TF_DeleteSessionOptions": (None, [POINTER]),
    "TF_SetConfig": (None, [POINTER, _TEXT, _SIZE, POINTER]),
    "TF_LoadSessionFromSavedModel": (
        POINTER,
        [
            POINTER,
            POINTER,
            _TEXT,
            ctypes.POINTER(_TEXT),
            _INT,
            POINTER,
            ctypes.POINTER(Buffer),
            POINTER,
        ],
    ),
    "TF_CloseSession": (None, [POINTER, POINTER]),
    "TF_DeleteSession": (None, [POINTER, POINTER]),
    "TF_GraphOperationByName": (POINTER, [POINTER, _TEXT]),
    "TF_SessionRun": (
        None,
        [
            *(POINTER, ctypes.POINTER(Buffer)),
            *(ctypes.POINTER(Output), ctypes.POINTER(POINTER), _INT),
            *(ctypes.POINTER(Output), ctypes.POINTER(POINTER), _INT),
            *(POINTER, _INT, POINTER, POINTER),
        ],
    ),
    "TF_AllocateTensor": (POINTER, [_INT, ctypes.POINTER(_INT64), _INT, _SIZE]),
    "TF_DeleteTensor": (None, [POINTER]),
    "TF_TensorData": (POINTER, [POINTER]),
    "TF_TensorByteSize": (_SIZE, [POINTER]),
    "TF_TensorType": (_INT, [POINTER]),
    "TF_NumDims": (_INT, [POINTER]),
    "TF_Dim": (_INT64, [POINTER, _INT]),
    "TF_StringInit": (None, [POINTER]),
    "TF_StringCopy": (None, [POINTER, _TEXT, _SIZE]),
    "TF_StringDealloc": (None, [POINTER]),
    "TF_StringGetDataPointer": (POINTER, [POINTER]),
    "TF_StringGetSize": (_SIZE, [POINTER]),
}


@functools.cache
def library() -> ctypes.CDLL:
    """The library that the TensorFlow wheel ships, with the types of its functions.

    Calls into it let other Python threads run.

    Raises:
        OSError: this TensorFlow has no such library.
    """
    path = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"
    loaded = ctypes.CDLL(str(path))
    # Without its types ctypes would take a pointer for an int of 32 bits.
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded
