"""Takes out of a saved graph what only its making needed: two thirds of the file, and a warning for every layer."""

import pathlib

from tensorflow.core.framework import function_pb2
from tensorflow.core.protobuf import saved_model_pb2

# On a node of a custom gradient: the name of a Python function that exists in the exporting process alone. Without it
# the operations inside are differentiated one by one, which gives the same.
_CUSTOM_GRADIENT = "_gradient_op_type"


def shorten(folder: pathlib.Path) -> None:
    """Rewrites saved_model.pb in `folder`: short node names inside functions, no traces of custom gradients."""
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in saved.meta_graphs:
        for node in graph.graph_def.node:
            node.attr.pop(_CUSTOM_GRADIENT, None)
            node.ClearField("experimental_debug_info")
        for function in graph.graph_def.library.function:
            _shorten_function(function)
    path.write_bytes(saved.SerializeToString(deterministic=True))


def _shorten_function(function: function_pb2.FunctionDef) -> None:
    """Names of nodes are local to a function; those of its arguments and of other functions are not touched."""
    taken = {argument.name for argument in function.signature.input_arg}
    free = (name for i in range(2 * len(function.node_def) + len(taken)) if (name := f"n{i}") not in taken)
    short = {node.name: next(free) for node in function.node_def}

    def renamed(reference: str) -> str:
        mark = "^" if reference.startswith("^") else ""
        name, colon, output = reference.removeprefix("^").partition(":")
        return f"{mark}{short.get(name, name)}{colon}{output}"

    for node in function.node_def:
        node.name = short[node.name]
        node.input[:] = [renamed(reference) for reference in node.input]
        node.attr.pop(_CUSTOM_GRADIENT, None)
        node.ClearField("experimental_debug_info")
    for returned in (function.ret, function.control_ret):
        for key, reference in list(returned.items()):
            returned[key] = renamed(reference)
