"""Makes saved_model.pb smaller: two thirds of it would be names of operations and gradients of gradients."""

import pathlib

from tensorflow.core.framework import function_pb2
from tensorflow.core.protobuf import saved_model_pb2

# A gradient that exists in the exporting process only, and shapes that TensorFlow infers again when it loads.
_UNUSED = ("_gradient_op_type", "_output_shapes")
_COLOCATION = "_class"
_SAME_PLACE = b"loc:@"


def compact(saved_model: pathlib.Path) -> None:
    """Rewrites a SavedModel that was saved without custom gradients; what it computes stays the same.

    Operations inside functions are renamed to n0, n1, …, and those that nothing depends on (derivatives that the inner
    loop's tape made and nobody asked for) are left out. Custom gradients are forgotten: without them TensorFlow
    differentiates the operations themselves, and the inner loop, whose two hundred they are, is not differentiated at
    all once it is exported. The fingerprint of the file that was is removed.
    """
    path = saved_model / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in message.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            _forget_attributes(function)
            _keep_what_counts(function)
            _rename_operations(function)
    path.write_bytes(message.SerializeToString(deterministic=True))
    (saved_model / "fingerprint.pb").unlink(missing_ok=True)


def _forget_attributes(function: function_pb2.FunctionDef) -> None:
    for node in function.node_def:
        for name in _UNUSED:
            node.attr.pop(name, None)


def _keep_what_counts(function: function_pb2.FunctionDef) -> None:
    """Operations that lead to a result or, like an assertion, to a control output."""
    nodes = {node.name: node for node in function.node_def}
    needed: set[str] = set()
    waiting = [*function.ret.values(), *function.control_ret.values()]
    while waiting:
        name = waiting.pop().removeprefix("^").split(":")[0]
        if name in nodes and name not in needed:
            needed.add(name)
            waiting += nodes[name].input
    kept = [node for node in function.node_def if node.name in needed]
    del function.node_def[:]
    function.node_def.extend(kept)


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
            known = [name for p in places if (name := names.get(p.removeprefix(_SAME_PLACE).decode()))]
            places[:] = [_SAME_PLACE + name.encode() for name in known]
    for returned in (function.ret, function.control_ret):
        for key in list(returned):
            returned[key] = renamed(returned[key])
