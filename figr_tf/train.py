"""Meta-trains a generator and a discriminator with FIGR (Clouâtre & Demers 2019).

  python -m figr_tf.train --flagfile omniglot.flags
  python -m figr_tf.train --flagfile omniglot.flags --data_dir=DIR --hidden=16 --num_meta_steps=2000

The same command again continues an unfinished run of the same settings. Results are in a numbered folder below
--runs_dir.
"""

import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from figr_tf import cluster, console, datasets, supervision
from figr_tf.errors import UserError
from figr_tf.interruption import Interrupted

if TYPE_CHECKING:  # what imports TensorFlow waits until --help and misspelt flags are dealt with
    from figr_tf.distribution import OneDevice
    from figr_tf.runs import RunFolder
    from figr_tf.settings import Settings

_DATASET = flags.DEFINE_enum("dataset", "glyphs", datasets.DATASETS, "What to train on; glyphs needs no download.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder with the data set's files. Default: what tensorflow-datasets downloads."
)
_SPLIT = flags.DEFINE_enum(
    "split", None, datasets.SPLITS, "Which classes are held out. Default: unseen-alphabets (omniglot), paper (mnist,"
    " figr8), random tenth (folder, glyphs)."
)  # fmt: skip
_SPLIT_SEED = flags.DEFINE_integer("split_seed", 0, "Seed of the random splits.", lower_bound=0)
_HELD_OUT = flags.DEFINE_list(
    "held_out_classes", [], "Names of the held-out classes, comma-separated; replaces --split."
)
_INK = flags.DEFINE_enum("ink", "dark", ["dark", "light"], "Ink in the files of --dataset=folder; light is inverted.")
_CACHE_DIR = flags.DEFINE_string("cache_dir", "~/.cache/figr_tf", "Folder for decoded images.")
_ARCHITECTURE = flags.DEFINE_enum("architecture", "resnet", ["resnet", "dcgan"], "The paper's pair, or its ablation.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "Height and width in pixels, a multiple of 16.")
_CHANNELS = flags.DEFINE_integer("channels", 1, "1 for grey images, 3 for colour.")
_HIDDEN = flags.DEFINE_integer("hidden", 64, "Channels at full resolution (h); the deepest stage has 16 times as many.")
_LATENT_DIM = flags.DEFINE_integer("latent_dim", 100, "Length of a latent vector.")
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 4, "Support images per task (n).")
_CLASS_ROTATIONS = flags.DEFINE_bool(
    "class_rotations", False, "Turn each training task by a random multiple of 90°: four times the classes."
)
_NUM_INNER_STEPS = flags.DEFINE_integer("num_inner_steps", 10, "Inner-loop SGD steps per task (K).", lower_bound=1)
_INNER_LEARNING_RATE = flags.DEFINE_float("inner_learning_rate", 1e-4, "SGD rate of the inner loop.", lower_bound=0)
_LOSS = flags.DEFINE_enum("loss", "wasserstein", ["wasserstein", "bce"], "Adversarial loss.")
_PENALTY_WEIGHT = flags.DEFINE_float(
    "gradient_penalty_weight", None, "λ. Default: 10 with --loss=wasserstein, 0 (no penalty) with bce.", lower_bound=0
)
_PENALTY_NORM = flags.DEFINE_enum(
    "gradient_penalty_norm", "image", ["image", "pixel"], "Gradient norm per image (WGAN-GP) or pixel (2018 code)."
)
_META_LEARNING_RATE = flags.DEFINE_float("meta_learning_rate", 1e-5, "Adam rate of the outer loop.", lower_bound=0)
_ANNEAL = flags.DEFINE_bool("anneal_meta_learning_rate", False, "Lower the outer rate linearly to 0 over the run.")
_META_BATCH_SIZE = flags.DEFINE_integer("meta_batch_size", 1, "Tasks averaged in one meta-step.")
_TASKS_AT_ONCE = flags.DEFINE_integer(
    "tasks_at_once", 1, "Tasks of a meta-batch adapted side by side: faster for --hidden=4 and less, needs more memory."
)
_NUM_META_STEPS = flags.DEFINE_integer(
    "num_meta_steps", 250_000, "Meta-steps in all, earlier ones of the run included."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the initial weights and of every draw.", 0, 2**31 - 1)
_LOG_EVERY = flags.DEFINE_integer("log_every", 100, "Meta-steps between lines of metrics.")
_EVAL_EVERY = flags.DEFINE_integer("eval_every", 10_000, "Meta-steps between pictures of held-out classes.")
_CHECKPOINT_EVERY = flags.DEFINE_integer("checkpoint_every", 1_000, "Meta-steps between checkpoints.")
_META_STEPS_PER_CALL = flags.DEFINE_integer(
    "meta_steps_per_call", 1, "Meta-steps that TensorFlow takes at a stretch: more keep a fast GPU from waiting for"
    " Python. Progress and Ctrl-C wait for them; what comes out is the same."
)  # fmt: skip
_JIT_COMPILE = flags.DEFINE_enum(
    "jit_compile", "auto", ["auto", "on", "off"], "XLA for the meta-step; auto: on a GPU (on CPUs it is slower)."
)
_DISTRIBUTE = flags.DEFINE_enum(
    "distribute", "none", ["none", "mirrored", "multi_worker"], "Share each meta-batch among the GPUs of this host, or"
    " among the workers that TF_CONFIG names. Worker 0 writes the run folder."
)  # fmt: skip
_START_TIMEOUT = flags.DEFINE_float(
    "start_timeout", 300.0, "Seconds that the workers of --distribute=multi_worker wait for each other.", lower_bound=1
)
_RUNS_DIR = flags.DEFINE_string("runs_dir", "runs", "Folder of the numbered run folders.")
_RUN = flags.DEFINE_string("run", None, "This very run folder, made if need be, instead of a numbered one.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Load the data (into --cache_dir), print the plan, train nothing.")
# Where and on what a run lies and whether it is a rehearsal are not part of what RUN/flags.txt repeats.
_NOT_RECORDED = ("run", "runs_dir", "dry_run", "distribute", "start_timeout")
_OF_THE_HOST = ("data_dir", "cache_dir", "run", "runs_dir")  # may differ from worker to worker


def _settings() -> "Settings":
    from figr_tf import adaptation, networks
    from figr_tf.settings import Settings

    penalty_weight = _PENALTY_WEIGHT.value
    if penalty_weight is None:
        penalty_weight = 10.0 if _LOSS.value == "wasserstein" else 0.0
    spec = networks.NetworkSpec(
        _ARCHITECTURE.value, _IMAGE_SIZE.value, _CHANNELS.value, _HIDDEN.value, _LATENT_DIM.value
    )
    return Settings(
        data=datasets.DataSettings(
            dataset=_DATASET.value,
            data_dir=_DATA_DIR.value,
            image_size=_IMAGE_SIZE.value,
            channels=_CHANNELS.value,
            ink=_INK.value,
            split=_SPLIT.value,
            split_seed=_SPLIT_SEED.value,
            held_out_classes=tuple(_HELD_OUT.value),
            cache_dir=_CACHE_DIR.value,
        ),
        network=spec,
        inner=adaptation.InnerStep(_INNER_LEARNING_RATE.value, _LOSS.value, penalty_weight, _PENALTY_NORM.value),
        num_shots=_NUM_SHOTS.value,
        num_inner_steps=_NUM_INNER_STEPS.value,
        class_rotations=_CLASS_ROTATIONS.value,
        meta_learning_rate=_META_LEARNING_RATE.value,
        anneal_meta_learning_rate=_ANNEAL.value,
        meta_batch_size=_META_BATCH_SIZE.value,
        tasks_at_once=_TASKS_AT_ONCE.value,
        num_meta_steps=_NUM_META_STEPS.value,
        seed=_SEED.value,
        log_every=_LOG_EVERY.value,
        eval_every=_EVAL_EVERY.value,
        checkpoint_every=_CHECKPOINT_EVERY.value,
        meta_steps_per_call=_META_STEPS_PER_CALL.value,
        jit_compile=_JIT_COMPILE.value,
    )


def _flagfile() -> str:
    own = [flag for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]) if flag.name not in _NOT_RECORDED]
    lines = [flag.serialize() for flag in own if flag.value is not None]
    return "\n".join(line for line in lines if line) + "\n"


def _print_plan(settings: "Settings", dataset: datasets.Dataset, device: str) -> None:
    data, split = dataset
    print(
        f"{settings.data.dataset}: {len(data.images)} images, split {split.describe()}\n"
        f"{settings.network.architecture} h={settings.network.hidden}, {settings.network.image_size}×"
        f"{settings.network.image_size}×{settings.network.channels}; n={settings.num_shots},"
        f" K={settings.num_inner_steps}, {settings.num_meta_steps} meta-steps of {settings.meta_batch_size} tasks\n"
        f"inner: SGD {settings.inner.learning_rate:g}, {settings.inner.loss},"
        f" λ={settings.inner.gradient_penalty_weight:g} per {settings.inner.gradient_penalty_norm};"
        f" outer: Adam {settings.meta_learning_rate:g}; device: {device}",
        flush=True,
    )


def _cluster() -> cluster.Cluster:
    return cluster.Cluster.from_environment() if _DISTRIBUTE.value == "multi_worker" else cluster.Cluster()


def _common_facts() -> dict[str, str]:
    """What all workers must have alike, as far as it is known before any data is read."""
    own = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    given = {f"--{flag.name}": str(flag.value) for flag in own if flag.name not in _OF_THE_HOST}
    return cluster.software() | given


def main() -> None:
    with supervision.Supervisor(_cluster(), _START_TIMEOUT.value) as supervisor:
        supervisor.compare(_common_facts())
        with console.banner_held_back():
            from figr_tf import distribution

            replicas = distribution.build(_DISTRIBUTE.value, supervisor)
        console.reuse_freed_memory()
        device = console.start_tensorflow()
        try:
            settings = _settings()
        except ValueError as error:
            raise UserError(str(error)) from error
        replicas.share(settings.meta_batch_size, settings.tasks_at_once)
        _train(settings, replicas, device)


def _train(settings: "Settings", replicas: "OneDevice", device: str) -> None:
    from figr_tf import training
    from figr_tf.settings import full_identity

    dataset = datasets.load_dataset(settings.data, settings.num_shots)
    identity = full_identity(settings, dataset.split, dataset.data.digest(), training.is_compiled(settings, device))
    replicas.supervisor.compare(identity | {"replicas": replicas.num_replicas})
    if replicas.is_chief:
        _print_plan(settings, dataset, f"{replicas.num_replicas} × {device}")
    if _DRY_RUN.value:
        return
    folder = _open_folder(settings, dataset, identity, replicas.num_replicas) if replicas.is_chief else None
    try:
        training.train(settings, dataset, folder, identity, replicas)
    except Interrupted as stop:  # here and not in console.run: it is one line for all workers, and no failure
        if folder:
            print(f"{stop}; the same command continues from there", flush=True)
        sys.exit(stop.exit_status)
    if folder:
        print(f"finished: {folder.path}", flush=True)


def _open_folder(
    settings: "Settings", dataset: datasets.Dataset, identity: dict[str, Any], num_replicas: int
) -> "RunFolder":
    from figr_tf import runs

    if _RUN.value:
        folder = runs.at_path(pathlib.Path(_RUN.value).expanduser(), identity)
    else:
        folder = runs.find_or_number(pathlib.Path(_RUNS_DIR.value).expanduser(), settings, identity)
    done, wanted = folder.num_checkpointed_steps(), settings.num_meta_steps
    if done > wanted:
        raise UserError(f"{folder.path} has {done} meta-steps already, --num_meta_steps={wanted} is less.")
    folder.record(settings, dataset.split, identity, _flagfile(), num_replicas)
    print(f"run folder: {folder.path}", flush=True)
    return folder


if __name__ == "__main__":
    console.run(main)
