"""Writes an export so that a server never sees half of one, and proves it before that."""

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import filelock
import tensorflow as tf
from PIL import Image

from exporters import (
    classifying,
    compact,
    contract,
    model_card,
    redrawing,
    signatures,
    verification,
    warmup,
)
from exporters.limits import Defaults, Limits
from figr_tf import models
from figr_tf.classifier.model import ClassifierModel
from figr_tf.core import runs
from figr_tf.core.errors import UserError
from figr_tf.gan.generation import FewShotModel
from figr_tf.warp.model import WarpModel

KINDS = ("generate", "tasks")
DEFAULT_NUM_SAMPLES = 16
# TensorFlow Serving takes numbers for versions and passes over all other names.
_UNFINISHED = "unfinished-"


class ExportRequest(NamedTuple):
    """What to export.

    Attributes:
        run: folder of a training run, or the name of a shipped model.
        kind: one of `KINDS`.
        signature_names: of the kind "generate"; empty: all that the model has.
        num_samples, num_inner_steps: where a request does not say; of the kind "tasks" always.
            None: `DEFAULT_NUM_SAMPLES`, and as the run draws or is evaluated.
        evaluation: report of `figr_tf.evaluate --json`, or of `figr_tf.evaluate_classifier --json`,
            for the model card; or None.
    """

    run: pathlib.Path
    kind: str
    signature_names: tuple[str, ...]
    limits: Limits
    num_samples: int | None
    num_inner_steps: int | None
    evaluation: pathlib.Path | None


class Export(NamedTuple):
    """What came out.

    Attributes:
        path: the version folder.
        contract: what stands in its contract.json.
        difference: the largest to the model in this process, in [0, 1].
    """

    path: pathlib.Path
    contract: dict[str, Any]
    difference: float


class Package(NamedTuple):
    """A model of one kind, ready to be written.

    Attributes:
        kind, facts: for the contract. warm_up: requests for the server to run first.
        difference: of the SavedModel in a folder to the model in this process, in [0, 1]; raises
            UserError above 1/255.
    """

    kind: str
    module: tf.Module
    functions: dict[str, Callable]
    facts: contract.Facts
    warm_up: list[warmup.Call]
    difference: Callable[[pathlib.Path], float]


def export(request: ExportRequest, export_dir: pathlib.Path, version: int | None) -> Export:
    """Writes `export_dir`/<version>, by default one more than the highest there is.

    Raises:
        UserError: the version exists, another process exports there, the disk is full, or the
            export does not draw what the model does.
    """
    # Before the model folder is made or locked: a run that cannot be exported leaves no trace.
    package = _package(models.load_any(request.run), request)
    _check_pictures(package.warm_up, request.limits)
    report = None
    if request.evaluation:
        report = model_card.read_report(request.evaluation, package.kind, package.facts)
    with _new_version(export_dir, version) as (scratch, target):
        try:
            described, difference = _write(scratch, package, report)
            # One rename, so that a server that watches the folder sees a whole version or none.
            os.rename(scratch, target)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{export_dir}: cannot be written ({reason}).") from error
    return Export(target, described, difference)


def _package(model: models.FewShotGenerator | ClassifierModel, request: ExportRequest) -> Package:
    if isinstance(model, ClassifierModel):
        return _classifying(model, request)
    if isinstance(model, WarpModel):
        return _redrawing(model, request)
    if isinstance(model, FewShotModel):
        return _adapting(model, request)
    raise UserError(f"{request.run}: is a run of a kind that has no export.")


def _adapting(model: FewShotModel, request: ExportRequest) -> Package:
    num_inner_steps = (
        model.num_inner_steps if request.num_inner_steps is None else request.num_inner_steps
    )
    num_samples = request.num_samples or DEFAULT_NUM_SAMPLES
    defaults = Defaults(num_inner_steps, num_samples)
    _check_names(request, signatures.NAMES)
    _check_defaults(request.limits, num_inner_steps=num_inner_steps, num_samples=num_samples)
    parts = signatures.make_parts(model, request.limits, defaults)
    if request.kind == "tasks":
        if request.signature_names:
            raise UserError(
                f"--signatures={','.join(request.signature_names)}: an export of --kind=tasks has"
                " signatures of its own. Leave the flag away."
            )
        functions = signatures.build_tasks(parts)
    else:
        functions = signatures.build(parts, request.signature_names or signatures.NAMES)
    logged = list(warmup.requests(parts, sorted(functions)))
    return Package(
        kind=request.kind,
        module=parts.module,
        functions=functions,
        facts=contract.adapting_facts(
            request.kind, parts, runs.RunFolder(models.find(request.run))
        ),
        warm_up=logged,
        difference=lambda folder: verification.largest_difference(folder, parts, logged),
    )


def _redrawing(model: WarpModel, request: ExportRequest) -> Package:
    names = request.signature_names or redrawing.NAMES
    if (
        request.kind != "generate"
        or request.num_inner_steps is not None
        or not set(names) <= set(redrawing.NAMES)
    ):
        raise UserError(
            f"{request.run}: has no inner loop, so no inner steps, no adapt, sample or tasks. Its"
            f" signatures are {', '.join(redrawing.NAMES)}."
        )
    num_samples = request.num_samples or DEFAULT_NUM_SAMPLES
    _check_defaults(request.limits, num_samples=num_samples)
    parts = redrawing.make_parts(model, request.limits, num_samples)
    functions = redrawing.build(parts, names)
    logged = list(redrawing.warm_up(parts, sorted(functions)))
    return Package(
        kind=request.kind,
        module=parts.module,
        functions=functions,
        facts=redrawing.facts(parts),
        warm_up=logged,
        difference=lambda folder: redrawing.largest_difference(folder, parts, logged),
    )


def _classifying(model: ClassifierModel, request: ExportRequest) -> Package:
    if request.kind != "generate" or request.num_samples is not None:
        raise UserError(
            f"{request.run}: is a classifier. Leave --kind and --num_samples away: it draws"
            " nothing."
        )
    _check_names(request, classifying.NAMES)
    num_inner_steps = (
        model.settings.eval_inner_steps
        if request.num_inner_steps is None
        else request.num_inner_steps
    )
    _check_defaults(request.limits, num_inner_steps=num_inner_steps)
    parts = classifying.make_parts(model, request.limits, num_inner_steps)
    functions = classifying.build(parts, request.signature_names or classifying.NAMES)
    logged = list(classifying.warm_up(parts, sorted(functions)))
    return Package(
        kind=classifying.KIND,
        module=parts.module,
        functions=functions,
        facts=classifying.facts(parts),
        warm_up=logged,
        difference=lambda folder: classifying.largest_difference(folder, parts, logged),
    )


def _check_names(request: ExportRequest, names: tuple[str, ...]) -> None:
    if not set(request.signature_names) <= set(names):
        raise UserError(
            f"--signatures={','.join(request.signature_names)}: {request.run} has"
            f" {', '.join(names)}."
        )


def _check_pictures(warm_up: list[warmup.Call], limits: Limits) -> None:
    """Limits that refuse pictures of the model's own size would refuse every request."""
    arrays = [value for call in warm_up for value in call.inputs.values()]
    files = [file for array in arrays if array.dtype == object for file in array]
    for file in files:
        side = max(Image.open(io.BytesIO(file)).size)
        if side > limits.max_image_side or len(file) > limits.max_png_bytes:
            raise UserError(
                f"--max_image_side={limits.max_image_side} and"
                f" --max_png_bytes={limits.max_png_bytes} refuse a picture of the model's own size,"
                f" of {side} pixels a side and {len(file)} bytes. Raise them."
            )


def _check_defaults(limits: Limits, **defaults: int) -> None:
    for name, value in defaults.items():
        most = getattr(limits, f"max_{name}")
        if value > most:
            raise UserError(
                f"the default {name}={value} is above --max_{name}={most}. Lower one or raise the"
                " other."
            )


def _write(
    folder: pathlib.Path, package: Package, report: dict[str, Any] | None
) -> tuple[dict[str, Any], float]:
    # An exported loop is not differentiated, and TensorFlow would warn once for each custom
    # gradient whenever the model is loaded.
    without_gradients = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    try:
        tf.saved_model.save(
            package.module, str(folder), signatures=package.functions, options=without_gradients
        )
    except tf.errors.OpError as error:
        # Such as a full disk: "FILE; No space left on device [Op:SaveV2]". The reason is between.
        raise OSError(re.sub(r".*; | \[Op:.*", "", error.message or "")) from error
    # Before it is loaded and compared below: what is proved is what will be served.
    compact.compact(folder)
    described = contract.describe(folder, package.kind, package.facts)
    # TensorFlow Serving looks in this folder for warm-up requests, and loading leaves it alone.
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / "contract.json").write_text(json.dumps(described, indent=1))
    (extra / "MODEL_CARD.md").write_text(model_card.write(described, report), encoding="utf-8")
    warmup.write(extra / warmup.FILE_NAME, package.warm_up)
    return described, package.difference(folder)


@contextlib.contextmanager
def _new_version(
    export_dir: pathlib.Path, version: int | None
) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """A scratch folder, and the version folder that it shall become.

    What killed exports left is removed.
    """
    export_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(export_dir / ".lock", blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise UserError(
            f"{export_dir}: another process is exporting there. Wait for it."
        ) from error
    try:
        # Whoever holds the lock knows that no living process is still writing these.
        for leftover in export_dir.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        existing = [int(path.name) for path in export_dir.iterdir() if path.name.isdecimal()]
        number = max(existing, default=0) + 1 if version is None else version
        if number in existing:
            raise UserError(
                f"{export_dir / str(number)}: exists already. Choose another --version, or none for"
                " the next."
            )
        scratch = export_dir / f"{_UNFINISHED}{number}"
        try:
            yield scratch, export_dir / str(number)
        finally:
            # After the rename nothing has this name any more.
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        lock.release()
