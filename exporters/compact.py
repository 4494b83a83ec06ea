"""Makes saved_model.pb smaller: two thirds of it would be names of operations and gradients of gradients."""

import pathlib

from tensorflow.core.framework import function_pb2
from tensorflow.core.protobuf import saved_model_pb2

_GRADIENT = "_gradient_op_type"
_COLOCATION = "_class"
_SAME_PLACE = b"loc:@"


def compact(saved_model: pathlib.Path) -> None:
    """Rewrites a SavedModel that was saved without custom gradients; what it computes stays the same.

    Operations inside functions are renamed to n0, n1, …. Custom gradients are forgotten: without them TensorFlow
    differentiates the operations themselves, and the inner loop, whose two hundred they are, is not differentiated at
    all once it is exported. The fingerprint of the file that was is removed.
    """
    path = saved_model / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in message.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            _forget_gradients(function)
            _rename_operations(function)
    path.write_bytes(message.SerializeToString(deterministic=True))
    (saved_model / "fingerprint.pb").unlink(missing_ok=True)


def _forget_gradients(function: function_pb2.FunctionDef) -> None:
    for node in function.node_def:
        node.attr.pop(_GRADIENT, None)


def _rename_operations(function: function_pb2.FunctionDef) -> None:
    arguments = {argument.name for argument in function.signature.input_arg}
    fresh = (
        name for name in map("n{}".format, range(len(function.node_def) + len(arguments))) if name not in arguments
    )
    names = {node.name: name for node, name in zip(function.node_def, fresh, strict=False)}

    def renamed(reference: str) -> str:
        """Of "operation:output:index", "^operation" or "argument"."""
        control = "^" if reference.startswith("^") else ""
        operation, *output = reference.removeprefix("^").split(":")
        return control + ":".join([names.get(operation, operation), *output])

    for node in function.node_def:
        node.name = names[node.name]
        node.input[:] = [renamed(reference) for reference in node.input]
        if _COLOCATION in node.attr:
            places = node.attr[_COLOCATION].list.s
            places[:] = [_SAME_PLACE + names[p.removeprefix(_SAME_PLACE).decode()].encode() for p in places]
    for returned in (function.ret, function.control_ret):
        for key in list(returned):
            returned[key] = renamed(returned[key])
