"""What a training costs on the devices at hand: weights, memory and time, for --dry_run.

Measured, not modelled: a few meta-steps are taken in memory, with the graph that the training would
have, and forgotten.
"""

import pathlib
import re
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

from figr_tf.core.distributed.strategy import OneDevice
from figr_tf.core.settings import TrainingSettings
from figr_tf.core.system import System
from figr_tf.core.training import Trainer

_LONG_ENOUGH = 3.0  # Seconds of meta-steps, for an estimate that is right to some per cents.


def describe(
    build_system: Callable[[], System],
    settings: TrainingSettings,
    compiled: bool,
    replicas: OneDevice,
) -> Iterator[str]:
    """Lines for people, each as soon as it is known; all workers have to ask for all of them.

    Args:
        build_system, compiled, replicas: see `training.Trainer`.
    """
    trainer = Trainer(build_system, settings, compiled, replicas)
    groups = trainer.system.meta_weights
    counts = {name: sum(v.shape.num_elements() for v in vs) for name, vs in groups.items()}
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    megabytes = 4 * sum(counts.values()) / 1e6
    yield f"weights: {listed}; {megabytes:.3g} MB, and several times that while it trains"
    yield "taking a few meta-steps to measure them; nothing is written"
    num_steps, seconds = measure(trainer)
    if memory := peak_memory():
        yield f"memory: {memory} so far; pictures of held-out tasks may take more"
    whole = duration(seconds * settings.num_meta_steps)
    yield (
        f"time: {duration(seconds)} per meta-step, measured over {num_steps} after the first;"
        f" {whole} for all {settings.num_meta_steps:,}, without pictures and checkpoints"
    )


def measure(trainer: Trainer) -> tuple[int, float]:
    """How many meta-steps were measured, and seconds for each.

    The first call is left out, since it builds the graph. One worker alone goes on for a few
    seconds; several take one call, so that none waits for another.
    """
    times = trainer.settings.meta_steps_of_next_call(0)
    trainer.take_meta_steps(times)
    is_alone = trainer.replicas.supervisor.cluster.size == 1
    num_steps, start = 0, time.monotonic()
    while True:
        metrics = trainer.take_meta_steps(times)
        metrics.finite.numpy()  # A GPU is done when there is something to read.
        num_steps += times
        elapsed = time.monotonic() - start
        if elapsed >= _LONG_ENOUGH or not is_alone:
            return num_steps, elapsed / num_steps


def peak_memory() -> str:
    """Most memory that this process ever held, such as "3.1 GB", on the first GPU if there is one.

    Empty if the system does not tell.
    """
    if tf.config.list_physical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        return f"{peak / 1e9:.2g} GB of the GPU's"
    status = pathlib.Path("/proc/self/status")  # getrusage would count the parent's, before exec.
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return f"{int(found[1]) * 1024 / 1e9:.2g} GB" if found else ""


def duration(seconds: float) -> str:
    """In the unit that people would take: 0.0123 → "0.012 s", 90,000 → "25 hours"."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
