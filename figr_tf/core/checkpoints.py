"""Checkpoints of a training: written, found, restored, refused.

A checkpoint is in TensorFlow's own format: checksummed, the index last and in place, so that a kill
in that moment can leave a torn one, which counts as damage. The newest is found by looking at the
files: TensorFlow's `checkpoint` bookkeeping file can be torn as well, after which a run that trusts
it would start over in silence.
"""

import contextlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from figr_tf.core.errors import RunError
from figr_tf.core.reptile import Reptile
from figr_tf.core.runs import checkpointed_meta_steps, refuse_difference

_ENDS = (".*", "_temp*")  # What may follow a checkpoint's prefix; the " (1)" of a copy does not.
_AVERAGE = "_average"  # After the name of a group.
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # How TensorFlow ends the names of variables.


def _all_objects(reptile: Reptile) -> dict[str, Any]:
    """What a checkpoint holds, by name. Variables of a list are matched by their order in it."""
    # By order and not by Keras' path: a layer may be renamed between two versions.
    objects: dict[str, Any] = dict(reptile.meta_weights)
    for group, optimizer in reptile.optimizers.items():
        objects[f"{group}_optimizer"] = list(optimizer.variables)
    for group, variables in reptile.average.items():
        objects[group + _AVERAGE] = variables
    if reptile.carried:
        objects["carried"] = list(reptile.carried)
    return objects | {
        "meta_step": reptile.meta_step,
        "num_skipped": reptile.num_skipped,
        "num_skipped_in_a_row": reptile.num_skipped_in_a_row,
    }


def state_variables(reptile: Reptile) -> list[tf.Variable]:
    """All that a checkpoint holds, in a fixed order."""
    return tf.nest.flatten(_all_objects(reptile))


def _found(folder: pathlib.Path) -> list[pathlib.Path]:
    """Prefixes of complete checkpoints, newest first."""
    return [_prefix(folder, meta_step) for meta_step in checkpointed_meta_steps(folder)]


def _prefix(folder: pathlib.Path, meta_step: int) -> pathlib.Path:
    return folder / f"ckpt-{meta_step:09d}"


def save(folder: pathlib.Path, reptile: Reptile, identity: dict[str, Any], keep: int = 3) -> None:
    """Writes all state of meta-training, and deletes the oldest checkpoints.

    The random state needs no entry of its own: every draw is a function of the seed (in `identity`)
    and `meta_step`.

    Args:
        identity: JSON-able facts that must agree when the checkpoint is restored.
        keep: how many of the newest checkpoints stay, this one included.

    Raises:
        RunError: it could not be written (a full disk, say); earlier checkpoints are still there.
    """
    now = reptile.num_meta_steps_taken()
    prefix = _prefix(folder, now)
    # The identity travels inside of the checkpoint, so that no copying can part the two.
    record = tf.Variable(json.dumps(identity), dtype=tf.string, trainable=False)
    try:
        tf.train.Checkpoint(**_all_objects(reptile), identity=record).write(str(prefix))
    except (tf.errors.OpError, OSError) as error:
        _delete(prefix)
        kept = _found(folder)
        last = (
            f"The last good checkpoint is {kept[0]}" if kept else "There is no earlier checkpoint"
        )
        reason = " ".join(str(getattr(error, "message", error)).split())
        raise RunError(f"{prefix}: cannot be written ({reason}). {last}.") from error
    # Only now, with the new one whole on disk, are old ones given up. Later ones are damaged, or
    # the run would have gone on from them; they may not take the place of a good one.
    for old in [step for step in checkpointed_meta_steps(folder) if step <= now][keep:]:
        _delete(_prefix(folder, old))


def sweep(folder: pathlib.Path) -> None:
    """Removes what a killed save left: scratch folders, and data files without their index."""
    complete = {prefix.name for prefix in _found(folder)}
    # Nine digits: what somebody put beside them under another name is not ours to delete.
    ours = [path for end in _ENDS for path in folder.glob(f"ckpt-{'[0-9]' * 9}{end}")]
    for path in ours:
        prefix = path.name.split(".")[0].removesuffix("_temp")
        if prefix not in complete or "temp" in path.name:
            _remove(path)


def _delete(prefix: pathlib.Path) -> None:
    # The index goes first: without it the rest does not count as a checkpoint.
    rest = [path for end in _ENDS for path in prefix.parent.glob(prefix.name + end)]
    for path in [prefix.with_suffix(".index"), *rest]:
        _remove(path)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(prefix: pathlib.Path) -> Iterator[Any]:
    """TensorFlow's reader of one checkpoint.

    It takes the path for a pattern, in which [v2] would stand for one of v and 2. So it is given a
    link in a folder whose name has no such signs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        link = pathlib.Path(scratch, "checkpoints")
        link.symlink_to(prefix.parent.absolute(), target_is_directory=True)
        yield tf.train.load_checkpoint(str(link / prefix.name))


def _read(prefix: pathlib.Path, objects: dict[str, Any], identity: dict[str, Any]) -> None:
    """Assigns a checkpoint's values to `objects`, none before all of them have been read."""
    keyed: dict[str, tf.Variable] = {}
    for name, variables in objects.items():
        if isinstance(variables, list):
            keyed |= {f"{name}/{i}": variable for i, variable in enumerate(variables)}
        else:
            keyed[name] = variables
    with _opened(prefix) as reader:
        recorded = json.loads(reader.get_tensor("identity" + _VALUE))
        refuse_difference(prefix, recorded, identity)
        values = {key: reader.get_tensor(key + _VALUE) for key in keyed}
    # A damaged file has failed above, so that no variable is left half restored.
    for key, variable in keyed.items():
        variable.assign(values[key])


def _restore(folder: pathlib.Path, objects: dict[str, Any], identity: dict[str, Any]) -> bool:
    """Reads the newest checkpoint that is whole; returns whether there was one.

    Args:
        objects: name → variable, or list of variables.
    """
    prefixes = _found(folder)
    for prefix in prefixes:
        try:
            _read(prefix, objects, identity)
            return True
        except RunError:  # Other settings: an older checkpoint has them as well.
            raise
        # TensorFlow's reader reports damage as anything from DataLossError to IndexError.
        except Exception as error:
            logging.warning(
                "%s is damaged (%s); trying the one before",
                prefix,
                " ".join(str(error).split())[:200],
            )
    if prefixes:
        # To begin anew here would overwrite what a repair might still bring back.
        raise RunError(
            f"{folder}: none of its {len(prefixes)} checkpoints can be read. Nothing was changed."
        )
    return False


def restore_training(folder: pathlib.Path, reptile: Reptile, identity: dict[str, Any]) -> bool:
    """Brings all state of meta-training back from the newest checkpoint that is whole.

    Returns:
        Whether there was one; False if there is no checkpoint yet.

    Raises:
        RunError: checkpoints are there but none can be read, or they are of other settings or
            another split.
    """
    return _restore(folder, _all_objects(reptile), identity)


def restore_weights(
    folder: pathlib.Path,
    meta_weights: Mapping[str, Sequence[tf.Variable]],
    identity: dict[str, Any],
    carried: Sequence[tf.Variable] = (),
) -> int:
    """Brings back Φ, its average where the run keeps one, and returns its meta-step.

    Args:
        meta_weights: variables by group, to be overwritten.
        identity: of the run; `meta_average` in it says whether there is an average.
        carried: to be overwritten as well, if any.

    Raises:
        RunError: no checkpoint that fits and can be read.
    """
    meta_step = tf.Variable(0, dtype=tf.int64)
    ending = _AVERAGE if identity.get("meta_average") else ""
    objects: dict[str, Any] = {group + ending: list(v) for group, v in meta_weights.items()}
    if carried:
        objects["carried"] = list(carried)
    if not _restore(folder, objects | {"meta_step": meta_step}, identity):
        raise RunError(f"{folder}: no checkpoint there yet.")
    return int(meta_step)
