"""Writes an export so that a server never sees half of one, and proves it before it is seen at all."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import filelock
import tensorflow as tf

from exporters import compact, contract, model_card, signatures, verification, warmup
from exporters.limits import Defaults, Limits
from exporters.signatures import Parts
from figr_tf import runs
from figr_tf.errors import UserError
from figr_tf.generation import FewShotModel, load_run

KINDS = ("generate", "tasks")
_UNFINISHED = "unfinished-"


class Request(NamedTuple):
    """What to export.

    Attributes:
        run: folder of a training run.
        kind: one of `KINDS`.
        signature_names: of the kind "generate", among `signatures.NAMES`.
        num_samples, num_inner_steps: where a request does not say; of the kind "tasks" always. None: as trained.
        evaluation: report of `figr_tf.evaluate --json` for the model card, or None.
    """

    run: pathlib.Path
    kind: str
    signature_names: tuple[str, ...]
    limits: Limits
    num_samples: int
    num_inner_steps: int | None
    evaluation: pathlib.Path | None


class Export(NamedTuple):
    """What came out: where, the contract, and the largest difference to `adapt` in this process, in [0, 1]."""

    path: pathlib.Path
    contract: dict[str, Any]
    difference: float


def export(request: Request, export_dir: pathlib.Path, version: int | None) -> Export:
    """Writes `export_dir`/<version>, by default one more than the highest there is.

    Raises:
        UserError: the version exists, another process exports there, or the export does not do what `adapt` does.
    """
    model = load_run(request.run)
    parts = _parts(model, request)
    with _new_version(export_dir, version) as (scratch, target):
        described, difference = _write(scratch, parts, request)
        os.rename(scratch, target)
    return Export(target, described, difference)


def _parts(model: FewShotModel, request: Request) -> Parts:
    limits = request.limits
    trained = model.settings.num_inner_steps
    num_inner_steps = trained if request.num_inner_steps is None else request.num_inner_steps
    for name, value, most in (
        ("num_inner_steps", num_inner_steps, limits.max_num_inner_steps),
        ("num_samples", request.num_samples, limits.max_num_samples),
    ):
        if value > most:
            raise UserError(f"the default {name}={value} is above --max_{name}={most}. Lower one or raise the other.")
    defaults = Defaults(num_inner_steps, request.num_samples)
    return signatures.make_parts(model, limits, defaults)


def _write(folder: pathlib.Path, parts: Parts, request: Request) -> tuple[dict[str, Any], float]:
    if request.kind == "tasks":
        functions = signatures.build_tasks(parts)
    else:
        functions = signatures.build(parts, request.signature_names)
    without_gradients = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(parts.module, str(folder), signatures=functions, options=without_gradients)
    compact.compact(folder)
    described = contract.describe(folder, parts, request.kind, runs.RunFolder(request.run))
    report = model_card.read_report(request.evaluation, described) if request.evaluation else None
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / "contract.json").write_text(json.dumps(described, indent=1))
    (extra / "MODEL_CARD.md").write_text(model_card.write(described, report))
    logged = list(warmup.requests(parts, list(described["signatures"])))
    warmup.write(extra / warmup.FILE_NAME, logged)
    return described, verification.largest_difference(folder, parts, logged)


@contextlib.contextmanager
def _new_version(export_dir: pathlib.Path, version: int | None) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """A scratch folder and the version folder that it shall become; leftovers of killed exports are removed."""
    export_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(export_dir / ".lock", blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise UserError(f"{export_dir}: another process is exporting there. Wait for it.") from error
    try:
        for leftover in export_dir.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        existing = [int(path.name) for path in export_dir.iterdir() if path.name.isdecimal()]
        number = max(existing, default=0) + 1 if version is None else version
        if number in existing:
            raise UserError(
                f"{export_dir / str(number)}: exists already. Choose another --version, or none for the next."
            )
        scratch = export_dir / f"{_UNFINISHED}{number}"
        try:
            yield scratch, export_dir / str(number)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        lock.release()
