"""Draws new images of a class from a few of its images.

The model is one that ships with the package, or a run of your own:

  python -m figr_tf.generate --images my_drawings/ --out out.png
  python -m figr_tf.generate --run RUN --images my_drawings/ --num_inner_steps 50 --out out.png
"""

import numpy as np

from figr_common import image_grid, images
from figr_tf.core import console
from figr_tf.core.errors import UserError

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_path(
    "run",
    "omniglot-32",
    "Name of a shipped model, or run folder of figr_tf.train, train_warp, train_pixelcnn or"
    " train_sequences.",
)
_IMAGES = flags.DEFINE_path(
    "images", None, "Folder with the support set's images, or one image.", required=True
)
_OUT = flags.DEFINE_path(
    "out", "out.png", "Picture to write: the support set framed, samples below."
)
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "Images to draw.", lower_bound=1)
_NUM_INNER_STEPS = flags.DEFINE_integer(
    "num_inner_steps",
    None,
    "Inner-loop steps (K), for what has an inner loop. Default: those that the run draws with.",
    0,
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "The same seed draws the same images.", lower_bound=0, upper_bound=2**53 - 1
)
_INK = flags.DEFINE_enum(
    "ink", "dark", ["dark", "light"], "Ink in the given images; light is inverted on the way in."
)
_NPZ = flags.DEFINE_path(
    "npz", None, "Also write support_images and images as uint8 arrays to this .npz file."
)
_GIF = flags.DEFINE_path(
    "gif", None, "Also write the samples along the inner steps as an animation, 41 frames at most."
)
# 41 frames of a quarter of a second last ten seconds.
_GIF_MILLISECONDS = 250
_GIF_MAX_FRAMES = 41


def _check_outputs() -> None:
    console.check_output(_OUT.value, images.writable_suffixes())
    for path, suffix in ((_NPZ.value, ".npz"), (_GIF.value, ".gif")):
        if path:
            console.check_output(path, [suffix])


def _check_inner_loop(model) -> None:
    # Leaving the flags out in silence would look as if they had done something.
    if model.num_inner_steps is None and (_GIF.value or _NUM_INNER_STEPS.value is not None):
        raise UserError(
            f"--run={_RUN.value}: has no number of inner steps to choose. Leave --num_inner_steps"
            " and --gif away."
        )


def _save_animation(path: str, model, support: np.ndarray, num_inner_steps: int) -> None:
    # Fewer inner steps than frames would give some of them twice.
    steps = np.unique(np.linspace(0, num_inner_steps, _GIF_MAX_FRAMES, dtype=int)).tolist()
    # It adapts a second time: `generate` is one graph, which shows nothing in between.
    along = model.samples_along(support, steps, _NUM_SAMPLES.value, _SEED.value)
    frames = [image_grid.result_picture(support, images) for images in along]
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=_GIF_MILLISECONDS, loop=0
    )


def main() -> None:
    """Adapts to the images and writes the samples."""
    # Before TensorFlow is imported: a path that cannot be written is known at once.
    _check_outputs()
    console.start_tensorflow()
    from figr_tf import models

    model = models.load(_RUN.value)
    _check_inner_loop(model)
    support = model.read_support(_IMAGES.value, _INK.value)
    num_inner_steps = (
        model.num_inner_steps if _NUM_INNER_STEPS.value is None else _NUM_INNER_STEPS.value
    )
    if num_inner_steps is not None:
        print(f"adapting to {len(support)} images in {num_inner_steps} inner steps", flush=True)
    samples = model.generate(support, _NUM_SAMPLES.value, _SEED.value, num_inner_steps)
    try:
        image_grid.result_picture(support, samples).save(_OUT.value)
        if _NPZ.value:
            # An open file, since NumPy appends .npz to a name that ends in .NPZ.
            with open(_NPZ.value, "wb") as file:
                np.savez_compressed(file, support_images=support, images=samples)
        if _GIF.value and num_inner_steps is not None:
            _save_animation(_GIF.value, model, support, num_inner_steps)
    except OSError as error:
        raise UserError(f"{error.filename or _OUT.value}: {error.strerror or error}.") from error
    written = ", ".join(path for path in (_OUT.value, _NPZ.value, _GIF.value) if path)
    print(f"{len(samples)} samples from {len(support)} images, {model.age}: {written}")


if __name__ == "__main__":
    console.run(main)
