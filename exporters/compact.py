"""Makes saved_model.pb smaller.

Two thirds of it would be names of operations, and gradients of gradients.
"""

import itertools
import pathlib
import string

from tensorflow.core.framework import function_pb2
from tensorflow.core.protobuf import saved_model_pb2

# A gradient that exists in the exporting process only, and shapes that TensorFlow infers again when
# it loads.
_UNUSED = ("_gradient_op_type", "_output_shapes")
_COLOCATION = "_class"
_SAME_PLACE = b"loc:@"
# In the order of their bytes. Three of them name 238,328 operations; the inner loop has 8,119. All
# names are equally long, or n10 would sort before n2.
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_NAME_LENGTH = 4


def compact(saved_model: pathlib.Path) -> None:
    """Rewrites a SavedModel; what it computes stays the same.

    Operations inside functions get short names. Those that nothing depends on are left out: they
    are derivatives that the inner loop's tape made and nobody asked for. Custom gradients are
    forgotten: without them TensorFlow differentiates the operations themselves, and the inner loop,
    whose two hundred they are, is not differentiated at all once it is exported. The fingerprint of
    the file that was is removed.

    The short names sort as the long ones did. Grappler adds up the terms of a sum in the order of
    their names; another order rounds otherwise, and the inner loop magnifies rounding until another
    picture comes out.

    Args:
        saved_model: folder with saved_model.pb, saved without custom gradients.
    """
    path = saved_model / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in message.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            _forget_attributes(function)
            _keep_what_counts(function)
            _rename_operations(function)
    # The maps of a protocol buffer have no order of their own: deterministic, the same export gives
    # the same bytes.
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
        # A reference is "operation:output:index", "^operation" or an argument, which is no
        # operation and ends the search.
        name = waiting.pop().removeprefix("^").split(":")[0]
        if name in nodes and name not in needed:
            needed.add(name)
            waiting += nodes[name].input
    kept = [node for node in function.node_def if node.name in needed]
    del function.node_def[:]
    function.node_def.extend(kept)


def _rename_operations(function: function_pb2.FunctionDef) -> None:
    arguments = {argument.name for argument in function.signature.input_arg}
    # An operation and an argument of the same name would be mistaken for each other.
    codes = itertools.product(_DIGITS, repeat=_NAME_LENGTH - 1)
    fresh = (short for code in codes if (short := f"n{''.join(code)}") not in arguments)
    names = dict(zip(sorted(node.name for node in function.node_def), fresh, strict=False))

    def renamed(reference: str) -> str:
        """Of "operation:output:index", "^operation" or "argument"."""
        control = "^" if reference.startswith("^") else ""
        operation, *output = reference.removeprefix("^").split(":")
        return control + ":".join([names.get(operation, operation), *output])

    for node in function.node_def:
        node.name = names[node.name]
        node.input[:] = [renamed(reference) for reference in node.input]
        # This attribute names operations to be placed with. Those that were left out are gone from
        # it too, or loading would fail on an unknown name.
        if _COLOCATION in node.attr:
            places = node.attr[_COLOCATION].list.s
            known = [
                name for p in places if (name := names.get(p.removeprefix(_SAME_PLACE).decode()))
            ]
            places[:] = [_SAME_PLACE + name.encode() for name in known]
    for returned in (function.ret, function.control_ret):
        # A list, since a map of a protocol buffer must not change while it is read.
        for key in list(returned):
            returned[key] = renamed(returned[key])
