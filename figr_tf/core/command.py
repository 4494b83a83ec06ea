"""What every training command does between its flags and the loop of meta-steps."""

import contextlib
import functools
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from figr_common import streams
from figr_tf.core import console
from figr_tf.core.distributed import cluster, supervision
from figr_tf.core.errors import UserError
from figr_tf.core.interruption import Interrupted

if TYPE_CHECKING:  # What imports TensorFlow waits until --help and misspelt flags are dealt with.
    from figr_tf.core.distributed.strategy import OneDevice
    from figr_tf.core.runs import RunFolder
    from figr_tf.core.settings import TrainingSettings
    from figr_tf.core.system import System

# Where and on what a run lies and whether it is a rehearsal are not part of what RUN/flags.txt
# repeats.
_NOT_RECORDED = ("run", "runs_dir", "dry_run", "distribute", "start_timeout")
_OF_THE_HOST = ("data_dir", "cache_dir", "run", "runs_dir")  # May differ from worker to worker.


class Devices(NamedTuple):
    """What a run is trained on: its replicas, and the name of the device under each."""

    replicas: "OneDevice"
    name: str


class Training(NamedTuple):
    """A run that is ready to begin.

    Attributes:
        data_facts: what tells the data and its split apart from any other.
        files: name → text of what the run folder keeps beside the settings.
        plan: for people, what is about to be trained.
        build_system: makes the system, from whether XLA compiles the steps.
    """

    settings: "TrainingSettings"
    data_facts: dict[str, Any]
    files: Mapping[str, str]
    plan: str
    build_system: Callable[[bool], "System"]


class Place(NamedTuple):
    """Where a run goes: this very folder, or a numbered one below `runs_dir`."""

    run: str | None
    runs_dir: str


def _own_flags() -> list[flags.Flag]:
    return flags.FLAGS.get_key_flags_for_module(sys.argv[0])


def flagfile() -> str:
    """The command's flags as a flagfile that repeats what it does."""
    own = [flag for flag in _own_flags() if flag.name not in _NOT_RECORDED]
    lines = [flag.serialize() for flag in own if flag.value is not None]
    return "\n".join(line for line in lines if line) + "\n"


@contextlib.contextmanager
def devices(distribute: str = "none", start_timeout: float = 300.0) -> Iterator[Devices]:
    """Finds the other workers, if there are any, and starts TensorFlow.

    Args:
        distribute: see `strategy.build`.
        start_timeout: seconds that workers wait for each other.
    """
    # Only several hosts have to find each other; TF_CONFIG may be set for another program.
    several = distribute == "multi_worker"
    workers = cluster.Cluster.from_environment() if several else cluster.Cluster()
    with supervision.Supervisor(workers, start_timeout) as supervisor:
        # What all workers must have alike, as far as it is known before any data is read.
        given = {f"--{f.name}": str(f.value) for f in _own_flags() if f.name not in _OF_THE_HOST}
        supervisor.compare(cluster.software() | given)
        with console.banner_held_back():
            from figr_tf.core.distributed import strategy

            replicas = strategy.build(distribute, supervisor)
        console.reuse_freed_memory()
        yield Devices(replicas, console.start_tensorflow())


def show_plan(training: Training, devices: Devices) -> None:
    """Prints what is about to be trained, once for all workers."""
    if devices.replicas.is_chief:
        count = devices.replicas.num_replicas
        print(f"{training.plan}; device: {count} × {devices.name}", flush=True)


def rehearse(training: Training, devices: Devices) -> None:
    """Prints the plan and what it would cost; leaves nothing on disk."""
    from figr_tf.core import cost

    settings, replicas = training.settings, devices.replicas
    show_plan(training, devices)
    compiled = settings.is_compiled(devices.name)
    build_system = functools.partial(training.build_system, compiled)
    for line in cost.describe(build_system, settings, compiled, replicas):
        if replicas.is_chief:
            print(line, flush=True)


def run(training: Training, place: Place, devices: Devices) -> "System":
    """Trains in a run folder, or goes on with the run that is there; returns the trained system.

    Raises:
        UserError: see `runs`, `training`.
    """
    from figr_tf.core import training as loop
    from figr_tf.core.settings import full_identity

    settings, replicas = training.settings, devices.replicas
    # It refuses a meta-batch that cannot be shared, before a run folder is made.
    replicas.share(settings.meta_batch_size)
    compiled = settings.is_compiled(devices.name)
    identity = full_identity(settings, training.data_facts, compiled)
    # Workers with other data would average meta-gradients of different tasks in silence.
    replicas.supervisor.compare(identity | {"replicas": replicas.num_replicas})
    show_plan(training, devices)
    folder = None
    # Only the chief writes. The other workers may not even see its disk.
    if replicas.is_chief:
        folder = _open_folder(training, place, identity, replicas.num_replicas)
    try:
        trained = loop.train(
            lambda: training.build_system(compiled), settings, folder, identity, replicas
        )
    # Caught here and not at the top: one line for all workers, and no failure of any of them.
    except Interrupted as stop:
        if folder:
            streams.say(f"{stop}; the same command continues from there")
        sys.exit(stop.exit_status)
    if folder:
        streams.say(f"finished: {folder.path}")
    return trained


def _open_folder(
    training: Training, place: Place, identity: dict[str, Any], num_replicas: int
) -> "RunFolder":
    from figr_tf.core import runs

    settings = training.settings
    if place.run:
        folder = runs.at_path(pathlib.Path(place.run), settings, identity)
    else:
        folder = runs.find_or_number(pathlib.Path(place.runs_dir), settings, identity)
    done, wanted = folder.num_checkpointed_meta_steps(), settings.num_meta_steps
    if done > wanted:
        raise UserError(
            f"{folder.path} has {done} meta-steps already, --num_meta_steps={wanted} is less."
        )
    files = {"flags.txt": flagfile(), **training.files}
    folder.record(settings, identity, files, num_replicas)
    print(f"run folder: {folder.path}", flush=True)
    return folder
