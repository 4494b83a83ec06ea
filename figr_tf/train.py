"""Meta-trains a generator and a discriminator with FIGR (Clouâtre & Demers 2019).

  python -m figr_tf.train --flagfile omniglot.flags
  python -m figr_tf.train --flagfile omniglot.flags --data_dir=DIR --hidden=16 --num_meta_steps=2000

The same command again continues an unfinished run of the same settings. Results are in a numbered
folder below --runs_dir.
"""

from typing import TYPE_CHECKING

from figr_tf.core import command, console
from figr_tf.core.errors import refusals_in_one_line
from figr_tf.core.loop_flags import LoopFlags
from figr_tf.data import datasets
from figr_tf.data.data_flags import DataFlags

if TYPE_CHECKING:  # What imports TensorFlow waits until --help and misspelt flags are dealt with.
    from figr_tf.gan.settings import Settings

flags = console.OwnFlags(__name__)

# Every option beyond the paper is off by default, and rates, n and K are Table 1's for Omniglot.
# Only the data are others, so that a first try needs no download.
_DATA = DataFlags(flags, "What to train on; glyphs needs no download.")
_ARCHITECTURE = flags.DEFINE_enum(
    "architecture",
    "resnet",
    ["resnet", "dcgan", "lean"],
    "The paper's, its ablation, or one for CPUs.",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 32, "Height and width in pixels, a multiple of 16."
)
_CHANNELS = flags.DEFINE_integer("channels", 1, "1 for grey images, 3 for colour.")
_HIDDEN = flags.DEFINE_integer(
    "hidden",
    64,
    "Channels at full resolution (h); the deepest stage has 16 times as many (lean: 8 times).",
)
_LATENT_DIM = flags.DEFINE_integer("latent_dim", 100, "Length of a latent vector.")
_BLOCKS = flags.DEFINE_integer(
    "blocks_per_stage",
    2,
    "Residual blocks before each change of size (resnet), or on the coarsest map (lean).",
    0,
)
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 4, "Support images per task (n).")
_CLASS_ROTATIONS = flags.DEFINE_bool(
    "class_rotations",
    False,
    "Turn each training task by a random multiple of 90°: four times the classes.",
)
_TASK_POOL = flags.DEFINE_integer(
    "task_pool",
    None,
    "Drawings of the class that a training task draws from. Default: --num_shots.",
    lower_bound=1,
)
_INNER_BATCH = flags.DEFINE_integer(
    "inner_batch",
    None,
    "Drawings of one inner step, anew at each. Default: all at hand.",
    lower_bound=1,
)
_AUGMENT = flags.DEFINE_enum(
    "augment",
    "none",
    ["none", "jitter", "redraw"],
    "What a support set is varied by before it is adapted to, in pictures, generation and export;"
    " training has the drawings of --task_pool.",
)
_AUGMENT_COUNT = flags.DEFINE_integer(
    "augment_count", 64, "Variations of a support set, made once per adaptation.", 1
)
_NUM_INNER_STEPS = flags.DEFINE_integer(
    "num_inner_steps", 10, "Inner-loop steps per task (K).", lower_bound=1
)
_INNER_LEARNING_RATE = flags.DEFINE_float(
    "inner_learning_rate", 1e-4, "Learning rate of the inner loop.", lower_bound=0
)
_INNER_OPTIMIZER = flags.DEFINE_enum(
    "inner_optimizer", "sgd", ["sgd", "adam"], "Of the inner loop."
)
_INNER_AVERAGE = flags.DEFINE_float(
    "inner_average",
    0.0,
    "Decay per inner step of the averaged generator that samples are drawn with; 0: none.",
    0,
)
_LATENT_POOL = flags.DEFINE_integer(
    "latent_pool",
    0,
    "Latents that adaptation goes through in turn, and through the real images, in pictures,"
    " generation and export, where at most so many images are drawn afterwards. 0: fresh latents"
    " and chosen images at every step, as in training.",
    0,
)
_NUM_TEST_INNER_STEPS = flags.DEFINE_integer(
    "num_test_inner_steps",
    None,
    "Inner steps where a trained model is not told. Default: --num_inner_steps.",
    1,
)
_META_AVERAGE = flags.DEFINE_float(
    "meta_average", 0.0, "Decay of the averaged meta-weights; 0: none.", 0
)
_LOSS = flags.DEFINE_enum("loss", "wasserstein", ["wasserstein", "bce"], "Adversarial loss.")
_PENALTY_WEIGHT = flags.DEFINE_float(
    "gradient_penalty_weight",
    None,
    "λ. Default: 10 with --loss=wasserstein, 0 (no penalty) with bce.",
    lower_bound=0,
)
_PENALTY_NORM = flags.DEFINE_enum(
    "gradient_penalty_norm",
    "image",
    ["image", "pixel"],
    "Gradient norm per image (WGAN-GP) or pixel (2018 code).",
)
_PENALTY_EVERY = flags.DEFINE_integer(
    "gradient_penalty_every",
    1,
    "Every so many-th inner step has the gradient penalty; the others leave it out, to save time.",
    lower_bound=1,
)
_LOOP = LoopFlags(
    flags,
    meta_learning_rate=1e-5,
    num_meta_steps=250_000,
    eval_every=10_000,
    eval_help="pictures of held-out classes",
    checkpoint_every=1_000,
)
_META_BATCH_SIZE = flags.DEFINE_integer("meta_batch_size", 1, "Tasks averaged in one meta-step.")
_KEEP_CHECKPOINTS = flags.DEFINE_integer(
    "keep_checkpoints", 3, "Newest checkpoints that stay; a learning curve needs many.", 1
)
_META_STEPS_PER_CALL = flags.DEFINE_integer(
    "meta_steps_per_call",
    1,
    "Meta-steps that TensorFlow takes at a stretch: more keep a fast GPU from waiting for Python."
    " Progress and Ctrl-C wait for them; what comes out is the same.",
)
# It belongs to the identity by its outcome: XLA draws other numbers from the same seed.
_JIT_COMPILE = flags.DEFINE_enum(
    "jit_compile",
    "auto",
    ["auto", "on", "off"],
    "XLA for the meta-step; auto: on a GPU (on CPUs it is slower).",
)
_DISTRIBUTE = flags.DEFINE_enum(
    "distribute",
    "none",
    ["none", "mirrored", "multi_worker"],
    "Share each meta-batch among the GPUs of this host, or among the workers that TF_CONFIG names."
    " Worker 0 writes the run folder.",
)
_START_TIMEOUT = flags.DEFINE_float(
    "start_timeout",
    300.0,
    "Seconds that the workers of --distribute=multi_worker wait for each other.",
    lower_bound=1,
)


# As people write them, for the plan.
_OPTIMIZER_NAMES = {"sgd": "SGD", "adam": "Adam"}


def _settings() -> "Settings":
    from figr_tf import models
    from figr_tf.gan import adaptation, networks
    from figr_tf.gan.settings import Settings

    # λ belongs to the Wasserstein loss; the paper's ablation with cross-entropy has none.
    penalty_weight = _PENALTY_WEIGHT.value
    if penalty_weight is None:
        penalty_weight = 10.0 if _LOSS.value == "wasserstein" else 0.0
    return Settings(
        data=_DATA.settings(_IMAGE_SIZE.value, _CHANNELS.value),
        network=networks.NetworkSpec(
            architecture=_ARCHITECTURE.value,
            image_size=_IMAGE_SIZE.value,
            channels=_CHANNELS.value,
            hidden=_HIDDEN.value,
            latent_dim=_LATENT_DIM.value,
            blocks_per_stage=_BLOCKS.value,
        ),
        inner=adaptation.InnerSettings(
            learning_rate=_INNER_LEARNING_RATE.value,
            loss=_LOSS.value,
            gradient_penalty_weight=penalty_weight,
            gradient_penalty_norm=_PENALTY_NORM.value,
            gradient_penalty_every=_PENALTY_EVERY.value,
            optimizer=_INNER_OPTIMIZER.value,
            batch_size=_INNER_BATCH.value,
            average_decay=_INNER_AVERAGE.value,
        ),
        task_pool=_TASK_POOL.value,
        augment=_AUGMENT.value,
        augment_count=_AUGMENT_COUNT.value,
        # Recorded, because with another redrawing network the same Φ would draw otherwise.
        redraw_sha256=models.redraw_sha256() if _AUGMENT.value == "redraw" else None,
        latent_pool=_LATENT_POOL.value,
        num_test_inner_steps=_NUM_TEST_INNER_STEPS.value,
        meta_average=_META_AVERAGE.value,
        num_shots=_NUM_SHOTS.value,
        num_inner_steps=_NUM_INNER_STEPS.value,
        class_rotations=_CLASS_ROTATIONS.value,
        meta_batch_size=_META_BATCH_SIZE.value,
        keep_checkpoints=_KEEP_CHECKPOINTS.value,
        meta_steps_per_call=_META_STEPS_PER_CALL.value,
        jit_compile=_JIT_COMPILE.value,
        **_LOOP.settings(),
    )


def _plan(settings: "Settings", dataset: datasets.Dataset) -> str:
    data, split = dataset
    network, inner = settings.network, settings.inner
    size = f"{network.image_size}×{network.image_size}×{network.channels}"
    penalty = f"λ={inner.gradient_penalty_weight:g} per {inner.gradient_penalty_norm}"
    if inner.gradient_penalty_every > 1:
        penalty += f" once in {inner.gradient_penalty_every} steps"
    lines = (
        f"{settings.data.dataset}: {len(data.images)} images, split {split.describe()}",
        f"{network.architecture} h={network.hidden}, {size}; n={settings.num_shots},"
        f" K={settings.num_inner_steps}, {settings.num_meta_steps} meta-steps of"
        f" {settings.meta_batch_size} tasks",
        f"inner: {_OPTIMIZER_NAMES[inner.optimizer]} {inner.learning_rate:g}, {inner.loss},"
        f" {penalty}; outer: Adam {settings.meta_learning_rate:g}",
    )
    return "\n".join(lines)


def main() -> None:
    """Loads the data, trains, or prints the plan alone."""
    with command.devices(_DISTRIBUTE.value, _START_TIMEOUT.value) as devices:
        with refusals_in_one_line():
            settings = _settings()
        # Before minutes of reading data: it refuses a meta-batch that cannot be shared.
        devices.replicas.share(settings.meta_batch_size)
        # A training task draws from as many drawings as its pool has; smaller classes are left out.
        dataset = datasets.load_dataset(
            settings.data, max(settings.num_shots, settings.task_pool or 0)
        )
        from figr_tf import models
        from figr_tf.gan.system import FigrSystem

        training = command.Training(
            settings=settings,
            data_facts=dataset.facts(),
            files={
                "network_spec.json": settings.network.to_json(),
                "split.json": dataset.split.to_json(),
            },
            plan=_plan(settings, dataset),
            # A function: variables have to be made in the scope of the replicas (core/training.py).
            build_system=lambda compiled: FigrSystem(
                settings, dataset, compiled, models.augmentation_of(settings)
            ),
        )
        _LOOP.start(training, devices)


if __name__ == "__main__":
    console.run(main)
