"""contract.json: all that a client needs to know about an export.

It is read off the SavedModel itself where that has it, so that the two cannot disagree.
"""

import pathlib
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from exporters import png
from exporters.limits import MAX_SEED, Limits
from exporters.signatures import AdaptingParts
from figr_tf.core import runs
from figr_tf.data.splits import Split
from figr_tf.gan.networks import parameter_count

FORMAT = 1
SAMPLES_FORM = "PNG, 8 bits per channel, dark ink on light paper"


def signature_defs(saved_model: pathlib.Path) -> dict[str, Any]:
    """SignatureDef by name, without TensorFlow's own ("__saved_model_init_op").

    Args:
        saved_model: folder with saved_model.pb.
    """
    # From the file: loading the model would take seconds, and show no defaults.
    text = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    defs = text.meta_graphs[0].signature_def
    return {name: defs[name] for name in sorted(defs) if not name.startswith("__")}


class Facts(NamedTuple):
    """What the SavedModel itself does not tell.

    Attributes:
        image_shape: H, W, C.
        ranges: smallest and largest value of each number that a request may hold.
        defaults: of those numbers that it may leave out.
        model, training: for the reader.
    """

    image_shape: tuple[int, int, int]
    ranges: dict[str, tuple[int, int]]
    defaults: dict[str, int]
    model: dict[str, Any]
    training: dict[str, Any]


def describe(saved_model: pathlib.Path, kind: str, facts: Facts) -> dict[str, Any]:
    """The contract of a SavedModel, as it is written to contract.json.

    Args:
        saved_model: folder with saved_model.pb.
        kind: "generate", "classify", or "tasks" where the task axis leads.
        facts: what the SavedModel itself does not tell.
    """
    height, width, channels = facts.image_shape
    signatures = {
        name: _signature(d, facts.ranges) for name, d in signature_defs(saved_model).items()
    }
    return {
        "format": FORMAT,
        "kind": kind,
        "signatures": signatures,
        "images": {
            "height": height,
            "width": width,
            "channels": channels,
            "range": [0.0, 1.0],
            "ink": 0.0,
            "paper": 1.0,
        }
        # A classifier answers with numbers.
        | ({} if kind == "classify" else {"png_bytes": SAMPLES_FORM}),
        "limits": {
            name: {"minimum": low, "maximum": high} for name, (low, high) in facts.ranges.items()
        },
        "defaults": facts.defaults,
        "batching": "leading task axis" if kind == "tasks" else "off",
        "model": facts.model,
        "training": facts.training,
        "versions": runs.versions(),
    }


def adapting_facts(kind: str, parts: AdaptingParts, run: runs.RunFolder) -> Facts:
    """Of a meta-initialisation that was meta-trained in `run`."""
    settings, networks = parts.model.settings, parts.model.networks
    identity = run.read_identity()
    ranges = request_ranges(parts.limits) | {"num_tasks": (1, parts.limits.max_num_tasks)}
    steps, samples = parts.defaults.num_inner_steps, parts.defaults.num_samples
    if kind == "tasks":
        # Chosen with the export: a request says neither, and has to give its seeds.
        ranges |= {"num_inner_steps": (steps, steps), "num_samples": (samples, samples)}
        defaults = {}
    else:
        ranges |= {"num_inner_steps": (0, parts.limits.max_num_inner_steps)}
        defaults = {"num_samples": samples, "num_inner_steps": steps, "seed": 0}
    model = {
        "fingerprint": parts.fingerprint,
        "meta_step": parts.model.meta_step,
        "network": fields_of(identity, "network"),
        "num_generator_parameters": parameter_count(networks.generator),
        "num_discriminator_parameters": parameter_count(networks.discriminator),
        "inner": fields_of(identity, "inner"),
    }
    training = training_facts(run, settings.data.dataset, settings.num_shots)
    return Facts(
        image_shape=parts.image_shape,
        ranges=ranges,
        defaults=defaults,
        model=model,
        training=training | {"num_inner_steps": settings.num_inner_steps},
    )


def fields_of(identity: dict[str, Any], part: str) -> dict[str, Any]:
    """What an identity says of one part of the settings, such as "network"."""
    prefix = f"{part}."
    return {key.removeprefix(prefix): v for key, v in identity.items() if key.startswith(prefix)}


def training_facts(run: runs.RunFolder, dataset: str, num_shots: int) -> dict[str, Any]:
    """What any kind of model was trained on.

    Raises:
        RunError: the run's split or identity cannot be read.
    """
    split, identity = Split.of_run(run.path), run.read_identity()
    return {
        "run": run.path.resolve().name,
        "dataset": dataset,
        "num_shots": num_shots,
        "split": split.name,
        "split_sha256": split.digest(),
        "num_training_classes": len(split.training),
        "num_held_out_classes": len(split.held_out),
        "data_sha256": identity["data_sha256"],
        "identity": identity,
    }


def request_ranges(limits: Limits) -> dict[str, tuple[int, int]]:
    """Of the numbers that a request to any kind of model holds."""
    return {
        "num_shots": (1, limits.max_num_shots),
        "num_samples": (1, limits.max_num_samples),
        "seed": (0, MAX_SEED),
        "image_side": (png.MIN_SIDE, limits.max_image_side),
        "png_bytes": (1, limits.max_png_bytes),
    }


def _signature(signature_def, ranges: dict[str, tuple[int, int]]) -> dict[str, Any]:
    inputs = {}
    for name, info in sorted(signature_def.inputs.items()):
        inputs[name] = _tensor(info)
        if name in signature_def.defaults:
            inputs[name]["default"] = tf.make_ndarray(signature_def.defaults[name]).item()
        if name in ranges:
            inputs[name]["minimum"], inputs[name]["maximum"] = ranges[name]
    return {
        "inputs": inputs,
        "outputs": {name: _tensor(info) for name, info in sorted(signature_def.outputs.items())},
    }


def _tensor(info) -> dict[str, Any]:
    """Type and shape; an axis of any length is null."""
    shape = [None if axis.size < 0 else axis.size for axis in info.tensor_shape.dim]
    return {"dtype": tf.as_dtype(info.dtype).name, "shape": shape}
