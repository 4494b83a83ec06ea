"""Packages a trained run as a SavedModel, for TensorFlow Serving and other TensorFlow code.

python -m exporters.export_saved_model --run runs/00001-omniglot-resnet-h64 --export_dir models/figr
"""

import pathlib
import time

from exporters.limits import Limits
from figr_tf.core import console
from figr_tf.core.errors import UserError

flags = console.OwnFlags(__name__)

# Written out once more: the modules that define them import TensorFlow, and neither --help nor a
# misspelt flag should wait for that.
_SIGNATURES = ("generate", "generate_tensor", "adapt", "sample", "classify", "classify_tensor")
_DEFAULT = Limits()

_RUN = flags.DEFINE_path(
    "run",
    None,
    "Run folder of figr_tf.train, train_warp or train_classifier, or the name of a shipped model.",
    required=True,
)
_EXPORT_DIR = flags.DEFINE_path(
    "export_dir", None, "Model folder; versions are its subfolders.", required=True
)
_VERSION = flags.DEFINE_integer(
    "version", None, "Version to write. Default: one more than the highest there is.", 1
)
_KIND = flags.DEFINE_enum(
    "kind", "generate", ["generate", "tasks"], "One class per request, or many (generate_tasks)."
)
_NAMES = flags.DEFINE_list(
    "signatures",
    [],
    f"Signatures to write, for --kind=generate: {', '.join(_SIGNATURES)}. Default: all it has.",
)
_EVALUATION = flags.DEFINE_path(
    "evaluation",
    None,
    "Report of figr_tf.evaluate or evaluate_classifier --json for the model card. Default:"
    " RUN/evaluation.json if there.",
)
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", None, "Samples where a request does not say; per task for tasks. Default: 16.", 1
)
_NUM_INNER_STEPS = flags.DEFINE_integer(
    "num_inner_steps",
    None,
    "Inner-loop steps (K) where a request does not say. Default: as the run draws, or a classifier"
    " is evaluated.",
    0,
)
_MAX_NUM_SHOTS = flags.DEFINE_integer(
    "max_num_shots", _DEFAULT.max_num_shots, "Support images per class, at most.", 1
)
_MAX_NUM_INNER_STEPS = flags.DEFINE_integer(
    "max_num_inner_steps",
    _DEFAULT.max_num_inner_steps,
    "Inner-loop steps per request, at most.",
    1,
)
_MAX_NUM_SAMPLES = flags.DEFINE_integer(
    "max_num_samples", _DEFAULT.max_num_samples, "Samples per request, at most.", 1
)
# A megapixel takes about 60 MB while it is decoded (png.py), so 8192 pixels a side take 4 GB.
_MAX_IMAGE_SIDE = flags.DEFINE_integer(
    "max_image_side", _DEFAULT.max_image_side, "Pixels of a PNG's longer side, at most.", 2, 8192
)
_MAX_PNG_BYTES = flags.DEFINE_integer(
    "max_png_bytes", _DEFAULT.max_png_bytes, "Bytes of one PNG, at most.", 100
)
_MAX_NUM_QUERIES = flags.DEFINE_integer(
    "max_num_queries", _DEFAULT.max_num_queries, "Queries per request to a classifier, at most.", 1
)
_MAX_NUM_TASKS = flags.DEFINE_integer(
    "max_num_tasks", _DEFAULT.max_num_tasks, "Classes per request of --kind=tasks, at most.", 1
)


def _signature_names() -> tuple[str, ...]:
    unknown = sorted(set(_NAMES.value) - set(_SIGNATURES))
    if unknown:
        raise UserError(
            f"--signatures={','.join(_NAMES.value)}: choose among {', '.join(_SIGNATURES)}."
        )
    return tuple(_NAMES.value)


def _evaluation() -> pathlib.Path | None:
    from figr_tf import models

    default = models.find(_RUN.value) / "evaluation.json"
    if _EVALUATION.value:
        return pathlib.Path(_EVALUATION.value)
    return default if default.exists() else None


def _limits() -> Limits:
    return Limits(
        max_num_shots=_MAX_NUM_SHOTS.value,
        max_num_inner_steps=_MAX_NUM_INNER_STEPS.value,
        max_num_samples=_MAX_NUM_SAMPLES.value,
        max_image_side=_MAX_IMAGE_SIDE.value,
        max_png_bytes=_MAX_PNG_BYTES.value,
        max_num_queries=_MAX_NUM_QUERIES.value,
        max_num_tasks=_MAX_NUM_TASKS.value,
    )


def main() -> None:
    """Exports the run, proves it, and says where it lies."""
    start = time.monotonic()
    # Before TensorFlow is imported, so that a misspelt name is known at once.
    names = _signature_names()
    console.start_tensorflow()
    from exporters import saved_model

    request = saved_model.ExportRequest(
        run=pathlib.Path(_RUN.value),
        kind=_KIND.value,
        signature_names=names,
        limits=_limits(),
        num_samples=_NUM_SAMPLES.value,
        num_inner_steps=_NUM_INNER_STEPS.value,
        evaluation=_evaluation(),
    )
    written = saved_model.export(request, pathlib.Path(_EXPORT_DIR.value), _VERSION.value)
    megabytes = (written.path / "saved_model.pb").stat().st_size / 1e6
    print(
        f"{written.path}: {', '.join(written.contract['signatures'])};"
        f" saved_model.pb {megabytes:.2f} MB; reloaded and compared with the model:"
        f" within {written.difference:.2g} (1/255 is allowed); {time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    console.run(main)
