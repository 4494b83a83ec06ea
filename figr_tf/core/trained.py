"""The trained weights of a run: from its checkpoints, or from the one file of a packaged model.

A packaged model is a run folder without what only its training needs: settings.json, identity.json
and the like, weights.npz, and weights.json, which holds the file's sha256.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from figr_tf.core import checkpoints
from figr_tf.core.errors import RunError
from figr_tf.core.runs import PACKAGE_RECORD, RunFolder, write_whole

_WEIGHTS, _CARRIED = "weights.npz", "carried"
# What loading needs, what an export's contract is written from, and the flags for people.
_KEPT = ("identity.json", "settings.json", "split.json", "network_spec.json", "flags.txt")
_PATHS = {"data_dir", "cache_dir", "start"}

Groups = Mapping[str, Sequence[tf.Variable]]


def restore(run: RunFolder, meta_weights: Groups, carried: Sequence[tf.Variable] = ()) -> int:
    """Brings back Φ (its average, where the run keeps one) and returns its meta-step.

    Args:
        meta_weights: variables by group, to be overwritten.
        carried: to be overwritten as well, if any.

    Raises:
        RunError: no weights there that fit and can be read, or a byte of a packaged file changed.
    """
    if not run.is_packaged():
        identity = run.read_identity()
        return checkpoints.restore_weights(run.checkpoints, meta_weights, identity, carried)
    meta_step, arrays = _read(run.path)
    keyed = _keyed({**meta_weights, _CARRIED: carried})
    shapes = {key: tuple(variable.shape) for key, variable in keyed.items()}
    # Before the first assignment, so that a model is never half of two.
    if shapes != {key: array.shape for key, array in arrays.items()}:
        raise RunError(f"{run.path / _WEIGHTS}: holds other weights than its settings describe.")
    for key, variable in keyed.items():
        variable.assign(arrays[key].astype(np.float32))
    return meta_step


def package(
    run: RunFolder,
    out: pathlib.Path,
    meta_weights: Groups,
    carried: Sequence[tf.Variable] = (),
    dtype: str = "float32",
) -> int:
    """Writes the packaged model of a run and returns its size in bytes.

    Args:
        out: a folder that does not exist yet.
        meta_weights, carried: variables that the run's weights fit into; they are overwritten.
        dtype: of the meta-weights in the file, "float32" or "float16"; a model always computes in
            float32.

    Raises:
        RunError: `out` exists or cannot be written, or the run has no usable weights.
    """
    if out.exists():
        raise RunError(f"{out}: exists. Choose another folder, or remove it first.")
    meta_step = restore(run, meta_weights, carried)
    keyed = _keyed({**meta_weights, _CARRIED: carried})
    arrays = {
        # What is carried reaches from 1e-12 to the number of meta-steps, beyond float16.
        key: v.numpy().astype("float32" if key.startswith(_CARRIED) else dtype)
        for key, v in keyed.items()
    }
    try:
        out.mkdir(parents=True)
    except OSError as error:  # Apart: what another process has made there is not ours to remove.
        raise RunError(f"{out}: cannot be written ({error.strerror or error}).") from error
    try:
        for name in _KEPT:
            if (run.path / name).exists():
                shutil.copyfile(run.path / name, out / name)
        _forget_paths(out)
        write(out, arrays, meta_step)
    except OSError as error:  # A full disk, say; half a model would be in the way of the next try.
        shutil.rmtree(out, ignore_errors=True)
        raise RunError(f"{out}: cannot be written ({error.strerror or error}).") from error
    return (out / _WEIGHTS).stat().st_size


def _forget_paths(folder: pathlib.Path) -> None:
    """Where the data lay on the host of the training is nobody else's business."""
    settings = json.loads((folder / "settings.json").read_text())
    nested = [value for value in settings.values() if isinstance(value, dict)]
    for part in (settings, *nested):
        for name in _PATHS & part.keys():
            part[name] = None
    write_whole(folder / "settings.json", json.dumps(settings, indent=1))
    if (folder / "flags.txt").exists():
        # As `write_whole` wrote it.
        text = (folder / "flags.txt").read_text(encoding="utf-8", errors="surrogateescape")
        lines = text.splitlines(keepends=True)
        # A line is --name=value.
        kept = [line for line in lines if line[2:].partition("=")[0] not in _PATHS]
        write_whole(folder / "flags.txt", "".join(kept))


def write(folder: pathlib.Path, arrays: Mapping[str, np.ndarray], meta_step: int) -> None:
    """Writes the weights of a packaged model and then its record, which makes it one."""
    # savez appends .npz to other names, hence the suffix at the end.
    scratch = folder / f".new-{_WEIGHTS}"
    np.savez_compressed(scratch, **arrays)  # type: ignore[arg-type]
    os.replace(scratch, folder / _WEIGHTS)
    record = {"sha256": _sha256(folder / _WEIGHTS), "meta_step": meta_step}
    write_whole(folder / PACKAGE_RECORD, json.dumps(record, indent=1))


def weights_sha256(folder: pathlib.Path) -> str:
    """Of a packaged model's file. Raises RunError if a byte of it has changed."""
    return _checked_record(folder)["sha256"]


def _checked_record(folder: pathlib.Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / PACKAGE_RECORD).read_text())
        recorded = record["sha256"], int(record["meta_step"])
        found = _sha256(folder / _WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}: its weights cannot be read ({error}).") from error
    if found != recorded[0]:
        raise RunError(
            f"{folder / _WEIGHTS}: does not match the sha256 in {PACKAGE_RECORD}. Copy the folder"
            " again."
        )
    return record


def _read(folder: pathlib.Path) -> tuple[int, dict[str, np.ndarray]]:
    meta_step = _checked_record(folder)["meta_step"]
    with np.load(folder / _WEIGHTS, allow_pickle=False) as arrays:
        return meta_step, dict(arrays)


def _keyed(groups: Mapping[str, Sequence[tf.Variable]]) -> dict[str, tf.Variable]:
    return {f"{group}/{i}": v for group, vs in groups.items() for i, v in enumerate(vs)}


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
