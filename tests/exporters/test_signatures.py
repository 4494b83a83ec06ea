"""What a server gets: the contract's signatures, and answers equal to those of figr_tf.generate."""

import concurrent.futures
import hashlib
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from exporters import signatures
from exporters.limits import Defaults
from figr_common import scaling
from figr_tf.gan import networks
from tests.exporters.conftest import LIMITS, png_file, read_png

SCALARS = {"num_samples": "int32", "num_inner_steps": "int32", "seed": "int64"}


@pytest.fixture(scope="module")
def meta_graph(exported):
    return saved_model_pb2.SavedModel.FromString(
        (exported.path / "saved_model.pb").read_bytes()
    ).meta_graphs[0]


def _operations(meta_graph) -> set[str]:
    functions = meta_graph.graph_def.library.function
    return {
        node.op
        for nodes in [meta_graph.graph_def.node, *(f.node_def for f in functions)]
        for node in nodes
    }


def test_signatures_have_the_names_types_shapes_and_defaults_of_the_contract(server, model):
    def inputs(name):
        return {
            key: (tf.as_dtype(info.dtype).name, [axis.size for axis in info.tensor_shape.dim])
            for key, info in server.signatures[name].inputs.items()
        }

    def defaults(name):
        return {
            key: tf.make_ndarray(value).item()
            for key, value in server.signatures[name].defaults.items()
        }

    parameters = networks.parameter_count(model.networks.generator)
    scalars = {name: (dtype, []) for name, dtype in SCALARS.items()}
    images = {"image_bytes": ("string", [-1])}
    assert inputs("generate") == inputs("serving_default") == images | scalars
    assert inputs("generate_tensor") == {"support_images": ("float32", [-1, 16, 16, 1])} | scalars
    assert inputs("adapt") == images | {key: scalars[key] for key in ("num_inner_steps", "seed")}
    delta = {"generator_delta": ("float32", [parameters]), "fingerprint": ("int64", [])}
    assert inputs("sample") == delta | {key: scalars[key] for key in ("num_samples", "seed")}
    for name in ("generate", "serving_default", "generate_tensor"):
        assert defaults(name) == {"num_samples": 4, "num_inner_steps": 2, "seed": 0}
    assert defaults("adapt") == {"num_inner_steps": 2, "seed": 0}
    assert defaults("sample") == {"num_samples": 4, "seed": 0}
    assert {name: sorted(s.outputs) for name, s in server.signatures.items()} == {
        "serving_default": ["png_bytes"],
        "generate": ["png_bytes"],
        "generate_tensor": ["images"],
        "adapt": ["fingerprint", "generator_delta"],
        "sample": ["images", "png_bytes"],
    }


def test_the_inner_loop_is_there_once_and_nothing_is_compiled_assigned_or_drawn_from_state(
    meta_graph,
):
    functions = meta_graph.graph_def.library.function
    loops = [f for f in functions if any("Conv2DBackpropFilter" in node.op for node in f.node_def)]
    assert len(loops) == 1
    assert b"_XlaMustCompile" not in meta_graph.SerializeToString()
    in_signatures = {
        node.op for f in functions if "__traced_" not in f.signature.name for node in f.node_def
    }
    assert not {
        op for op in in_signatures if re.match(r"Assign|Random|Stateful(Uniform|Random)|PyFunc", op)
    }
    assert "StatelessRandomNormalV2" in in_signatures


def test_no_operation_asks_for_a_gradient_that_only_figr_tf_has(meta_graph):
    assert b"_gradient_op_type" not in meta_graph.SerializeToString()


def test_an_export_takes_little_more_room_than_its_weights(exported, model):
    weights = sum(networks.parameter_count(network) for network in model.networks) * 4
    stored = (exported.path / "variables/variables.data-00000-of-00001").stat().st_size
    assert weights <= stored <= 1.05 * weights


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1, 2**40 + 7, 2**53 - 1])
def test_generate_draws_what_figr_tf_generate_draws(server, model, support, png_support, seed):
    answer = server.predict(
        "generate", image_bytes=png_support, num_samples=5, num_inner_steps=3, seed=seed
    )
    drawn = np.stack([read_png(data) for data in answer["png_bytes"]])
    np.testing.assert_allclose(drawn, model.generate(support, 5, seed, 3), atol=1)
    unit = support.astype(np.float32) / 255
    answer = server.predict(
        "generate_tensor", support_images=unit, num_samples=5, num_inner_steps=3, seed=seed
    )
    np.testing.assert_allclose(answer["images"], drawn / 255, atol=1 / 255)


def test_files_reach_the_inner_loop_as_the_very_numbers_that_figr_tf_generate_takes(model):
    """Bit for bit, since the inner loop magnifies rounding."""
    every_value = np.arange(256, dtype=np.uint8).reshape(16, 16)
    parts = signatures.make_parts(model, LIMITS, Defaults(2, 4))
    read = tf.function(
        lambda files: -parts.read(files), [tf.TensorSpec([None], tf.string)], autograph=False
    )
    numbers = -read(tf.constant([png_file(Image.fromarray(every_value))])).numpy()
    np.testing.assert_array_equal(numbers, scaling.uint8_to_signed(every_value[None, ..., None]))


def test_scalars_left_out_are_as_trained(server, model, support, png_support):
    drawn = np.stack(
        [
            read_png(data)
            for data in server.predict("serving_default", image_bytes=png_support)["png_bytes"]
        ]
    )
    np.testing.assert_allclose(drawn, model.generate(support, num_samples=4), atol=1)


def test_adapting_once_and_sampling_equals_generating(server, png_support):
    adapted = server.predict("adapt", image_bytes=png_support, num_inner_steps=3, seed=7)
    assert np.abs(adapted["generator_delta"]).max() > 0
    sampled = server.predict("sample", **adapted, num_samples=6, seed=7)
    generated = server.predict(
        "generate", image_bytes=png_support, num_samples=6, num_inner_steps=3, seed=7
    )
    drawn = np.stack([read_png(data) for data in generated["png_bytes"]])
    np.testing.assert_allclose(sampled["images"] * 255, drawn, atol=1)
    np.testing.assert_allclose(
        np.stack([read_png(data) for data in sampled["png_bytes"]]), drawn, atol=1
    )


def test_no_inner_steps_change_no_weight(server, png_support):
    assert not server.predict("adapt", image_bytes=png_support, num_inner_steps=0)[
        "generator_delta"
    ].any()


def test_more_inner_steps_and_another_seed_draw_something_else(server, png_support):
    def draw(**scalars):
        return [
            hashlib.sha256(data).hexdigest()
            for data in server.predict("generate", image_bytes=png_support, **scalars)["png_bytes"]
        ]

    assert len({tuple(draw(num_inner_steps=k, seed=s)) for k in (0, 5) for s in (0, 1)}) == 4


def test_requests_at_the_same_time_get_the_bits_they_get_alone(server, support):
    def ask(seed):
        turned = np.rot90(support, seed % 4, axes=(1, 2)).astype(np.float32) / 255
        scalars = {"num_samples": 1 + seed % 5, "num_inner_steps": 1 + seed % 6, "seed": seed}
        return server.predict("generate_tensor", support_images=turned[: 1 + seed % 3], **scalars)[
            "images"
        ]

    alone = [ask(seed) for seed in range(16)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, range(16)))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_serving_changes_no_weight(server, png_support):
    with server.session.graph.as_default():
        variables = [
            n.name for n in server.session.graph.as_graph_def().node if n.op == "VarHandleOp"
        ]
    reads = [f"{name}/Read/ReadVariableOp:0" for name in variables]
    before = server.session.run(reads)
    server.predict("generate", image_bytes=png_support, num_inner_steps=5)
    for a, b in zip(before, server.session.run(reads), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_contract_says_all_that_a_client_has_to_know(exported, run_folder, model):
    contract = json.loads((exported.path / "assets.extra/contract.json").read_text())
    assert contract == exported.contract
    assert contract["signatures"]["generate"]["inputs"]["num_samples"] == {
        "dtype": "int32", "shape": [], "default": 4, "minimum": 1, "maximum": 32,
    }  # fmt: skip
    assert contract["signatures"]["generate_tensor"]["outputs"]["images"]["shape"] == [
        None,
        16,
        16,
        1,
    ]
    assert contract["images"]["ink"] == 0
    assert contract["images"]["paper"] == 1
    assert contract["limits"]["num_shots"] == {"minimum": 1, "maximum": 6}
    assert contract["model"]["meta_step"] == model.meta_step == 12
    assert contract["model"]["network"]["architecture"] == "lean"
    assert contract["model"]["inner"]["learning_rate"] == 1e-2
    assert 0 <= contract["model"]["fingerprint"] < 2**53
    assert (
        contract["training"]["split_sha256"]
        == json.loads((run_folder / "split.json").read_text())["sha256"]
    )
    assert len(contract["training"]["data_sha256"]) == 64
    assert {"tensorflow", "keras", "created"} <= contract["versions"].keys()
