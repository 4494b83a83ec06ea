"""Tasks per second of one and of two workers, and what their all-reduce takes by message size.

  python -m benchmarks.scaling --hidden=4,16

Each worker has one thread. One and two take turns, so that the ratio holds on a busy machine. The
all-reduce is that of training: one message a weight.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from absl import flags

from figr_tf import launch
from figr_tf.core import console
from figr_tf.core.distributed import cluster
from figr_tf.core.distributed.supervision import Supervisor

if TYPE_CHECKING:
    from figr_tf.core.distributed.strategy import OneDevice

_HIDDEN = flags.DEFINE_list(
    "hidden",
    ["4", "16"],
    "Channels h at full resolution of the networks to time.",
)
_META_STEPS = flags.DEFINE_integer(
    "meta_steps",
    20,
    "Timed meta-steps of a run; 0 leaves the runs out.",
)
_ROUNDS = flags.DEFINE_integer(
    "rounds",
    3,
    "Runs of one worker and of two, in turns.",
    lower_bound=1,
)
_REPEATS = flags.DEFINE_integer("repeats", 20, "Timed all-reduces; 0 leaves them out.")
_WORKER = flags.DEFINE_bool(
    "worker",
    False,
    "Be a worker of the all-reduce (the benchmark starts itself so).",
)
# One worker alone would otherwise take both cores, and two could not be faster.
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def _tasks_per_second(hidden: int, num_workers: int) -> float:
    """One task a worker and meta-step, without the first meta-step, which builds the graph."""
    steps = _META_STEPS.value + 1
    command = ["figr_tf.train"]
    if num_workers > 1:
        command = ["figr_tf.launch", f"--workers={num_workers}", "--"]
    # As many tasks as workers, so each of them always has one to adapt to.
    sizes = [f"--hidden={hidden}", f"--meta_batch_size={num_workers}", f"--num_meta_steps={steps}"]
    with tempfile.TemporaryDirectory() as folder:
        # One line of metrics at the end has the rate of all meta-steps but the first.
        others = ["--dataset=glyphs", f"--log_every={steps}", f"--run={folder}/run"]
        subprocess.run(
            [sys.executable, "-m", *command, *sizes, *others],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | _ONE_THREAD,
        )
        line = json.loads(pathlib.Path(folder, "run/metrics.jsonl").read_text().splitlines()[-1])
    return line["meta_steps_per_second"] * num_workers


def _print_rates() -> None:
    print(
        "| h | tasks/s, one worker | tasks/s, two workers | times as many |\n|---|---|---|---|",
        flush=True,
    )
    for hidden in map(int, _HIDDEN.value):
        rates = [[_tasks_per_second(hidden, size) for size in (1, 2)] for _ in range(_ROUNDS.value)]
        one, two = (statistics.median(column) for column in zip(*rates, strict=True))
        # Of pairs that were neighbours in time.
        ratio = statistics.median(b / a for a, b in rates)
        print(f"| {hidden} | {one:.3g} | {two:.3g} | {ratio:.2f} |", flush=True)


def _print_all_reduces() -> None:
    """Starts two workers, of which the first prints."""
    print("| message | bytes | all-reduce, ms, median (least) |\n|---|---|---|", flush=True)
    own = [f"--hidden={','.join(_HIDDEN.value)}", f"--repeats={_REPEATS.value}"]
    # Two processes with TF_CONFIG, as figr_tf.launch starts them.
    each = launch.environments(2, launch.free_ports(2), os.environ | _ONE_THREAD)
    command = [sys.executable, "-m", "benchmarks.scaling", "--worker", *own]
    workers = [subprocess.Popen(command, env=environment) for environment in each]
    statuses = [worker.wait() for worker in workers]
    if any(statuses):
        sys.exit("error: a worker failed; its error stands above")


def _work() -> None:
    # The order is that of training. The supervisor's port becomes TensorFlow's, and no device may
    # be listed before the strategy is built (docs/traps.md).
    with Supervisor(cluster.Cluster.from_environment(), start_timeout=60.0) as supervisor:
        with console.banner_held_back():
            from figr_tf.core.distributed import strategy

            replicas = strategy.build("multi_worker", supervisor)
        console.start_tensorflow()
        import tensorflow as tf

        from figr_tf.gan.adaptation import weights_of
        from figr_tf.gan.networks import NetworkSpec, build_networks

        with replicas.scope():
            messages = {"one number": [tf.Variable(0.0)]}
            messages |= {
                f"Φ − W, h = {h}": tf.nest.flatten(
                    weights_of(build_networks(NetworkSpec(hidden=int(h)), 0))
                )
                for h in _HIDDEN.value
            }
        for name, message in messages.items():
            seconds = _time_all_reduce(replicas, message)
            size = sum(value.dtype.size * value.shape.num_elements() for value in message)
            if replicas.is_chief:
                median, least = (1e3 * f(seconds) for f in (statistics.median, min))
                print(f"| {name} | {size:,} | {median:.3g} ({least:.3g}) |", flush=True)


def _time_all_reduce(replicas: "OneDevice", message: list[Any]) -> list[float]:
    import tensorflow as tf

    from figr_tf.core.distributed.strategy import ReplicaStep

    def reduce(_) -> tf.Tensor:
        # A sum makes a tensor of each variable, as Φ − W is one.
        means = replicas.mean([value + 0.0 for value in message])
        return tf.reshape(means[0], [-1])[0]

    # By training's own call, so that its all-reduce is what is timed.
    take_meta_steps = replicas.compile_meta_steps(
        ReplicaStep(reduce, tf.float32, 1),
        tf.constant(0),
        most=1,
        jit_compile=False,
    )
    seconds = []
    for _ in range(_REPEATS.value + 2):
        begun = time.perf_counter()
        take_meta_steps(1)
        seconds.append(time.perf_counter() - begun)
    # The first two build the graph and open the connections.
    return seconds[2:]


def main() -> None:
    """Prints both tables, or is a worker of the second."""
    if _WORKER.value:
        return _work()
    if _META_STEPS.value:
        _print_rates()
    if _REPEATS.value:
        _print_all_reduces()


if __name__ == "__main__":
    console.run(main)
