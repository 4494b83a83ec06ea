"""Making saved_model.pb smaller, on a module of three operations and a superfluous one."""

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from exporters import compact


@pytest.fixture
def saved(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def add_up(x):
        tf.exp(x, name="unused")
        return tf.add_n(
            [tf.square(x, name="z"), tf.sin(x, name="scope/a10"), tf.cos(x, name="scope/a9")]
        )

    module = tf.Module()
    module.add_up = add_up
    tf.saved_model.save(module, str(tmp_path))
    return tmp_path


def _operations(saved):
    message = saved_model_pb2.SavedModel.FromString((saved / "saved_model.pb").read_bytes())
    functions = message.meta_graphs[0].graph_def.library.function
    (function,) = (f for f in functions if any(node.op == "AddN" for node in f.node_def))
    return sorted(function.node_def, key=lambda node: node.name)


def test_short_names_sort_as_the_long_ones_did(saved):
    before = [node.op for node in _operations(saved) if node.op != "Exp"]
    compact.compact(saved)
    after = _operations(saved)
    assert [node.op for node in after] == before
    assert before.index("Sin") < before.index("Cos") < before.index("Square")
    assert all(len(node.name) == 4 for node in after)


def test_what_is_computed_stays_the_same(saved):
    expected = tf.saved_model.load(str(saved)).add_up(2.0)
    compact.compact(saved)
    assert tf.saved_model.load(str(saved)).add_up(2.0) == expected
