"""One thing to time, in a process of its own.

  python -m benchmarks.worker '{"kind": "meta_step", "hidden": 4}'

It says when it is ready, then runs once for every line that it is sent. When warm it prints one
JSON line (seconds to import, and of the first call), then one for each run (seconds, and peak
memory).
"""

import dataclasses
import json
import pathlib
import re
import sys
import time
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Work:
    """What to time.

    Attributes:
        kind: "meta_step"; "adapt"; "generate" (adapt, then draw `num_samples`); "exported" (the
            same through a SavedModel's generate_tensor signature); "sampling" (drawing one support
            set).
        hidden, image_size: h and S of the networks.
        num_shots, num_inner_steps: n and K.
        num_samples: of "generate" and "exported".
        saved_model: folder, of "exported".
    """

    kind: str
    hidden: int = 16
    image_size: int = 32
    num_shots: int = 4
    num_inner_steps: int = 10
    num_samples: int = 64
    saved_model: str = ""


def _support(work: Work):
    import tensorflow as tf

    # Noise will do: no operation takes longer for one image than for another.
    shape = [work.num_shots, work.image_size, work.image_size, 1]
    return tf.random.stateless_uniform(shape, [0, 0], -1, 1)


def _exported(work: Work) -> Callable[[], Any]:
    import tensorflow as tf

    generate = tf.saved_model.load(work.saved_model).signatures["generate_tensor"]
    support = _support(work) / 2 + 0.5
    counts = {
        "num_samples": tf.constant(work.num_samples),
        "num_inner_steps": tf.constant(work.num_inner_steps),
    }
    return lambda: generate(support_images=support, seed=tf.constant(0, tf.int64), **counts)[
        "images"
    ]


def _dataset(work: Work):
    """Noise, in as many classes as Omniglot's background set has, and one that is held out."""
    import numpy as np

    from figr_tf.data import class_images, datasets, splits

    # 964 background characters, and the held-out one.
    names = [f"class{i:03}" for i in range(965)]
    shape = [20 * len(names), work.image_size, work.image_size, 1]
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    split = splits.split_by("benchmark", names, {names[-1]}.__contains__)
    return datasets.Dataset(class_images.ClassImages(pixels, dict.fromkeys(names, 20)), split)


def _sampling(work: Work) -> Callable[[], Any]:
    import tensorflow as tf

    from figr_tf.core.random import stateless_seed
    from figr_tf.data import tasks

    data, split = _dataset(work)
    sampler = tasks.TaskSampler(data, split.training, work.num_shots)
    pixels = tf.constant(data.images)
    return tf.function(
        lambda: sampler.random_support_images(pixels, stateless_seed(0)),
        autograph=False,
    )


def _meta_step(work: Work) -> Callable[[], Any]:
    from figr_tf.core import training
    from figr_tf.data.datasets import DataSettings
    from figr_tf.gan.networks import NetworkSpec
    from figr_tf.gan.settings import Settings
    from figr_tf.gan.system import FigrSystem

    settings = Settings(
        data=DataSettings(image_size=work.image_size),
        network=NetworkSpec(hidden=work.hidden, image_size=work.image_size),
        num_shots=work.num_shots,
        num_inner_steps=work.num_inner_steps,
    )
    # Without XLA, which makes a CPU ten times slower.
    trainer = training.Trainer(lambda: FigrSystem(settings, _dataset(work)), settings, False)
    return lambda: trainer.take_meta_steps(1).values["generator_loss"]


def _work(work: Work) -> Callable[[], Any]:
    alone = {"exported": _exported, "sampling": _sampling, "meta_step": _meta_step}
    if work.kind in alone:
        return alone[work.kind](work)
    import tensorflow as tf

    from figr_tf.core.random import stateless_seed
    from figr_tf.data.datasets import DataSettings
    from figr_tf.gan import adaptation, generation, networks
    from figr_tf.gan.settings import Settings

    spec = networks.NetworkSpec(hidden=work.hidden, image_size=work.image_size)
    pair = networks.build_networks(spec, seed=0)
    settings = Settings(data=DataSettings(image_size=work.image_size), network=spec)
    model = generation.FewShotModel(pair, settings, 0)
    inner, support = settings.inner, _support(work)

    def adapt():
        state, seed = adaptation.start(adaptation.weights_of(pair), inner), stateless_seed(0, 0)
        state = adaptation.adapt(pair, state, support, work.num_inner_steps, inner, seed)
        # One array to wait for. Every weight of the last step depends on all steps before it.
        return state.weights.generator[-1]

    def generate():
        return model.sample(support, work.num_inner_steps, work.num_samples, 0)

    return tf.function({"adapt": adapt, "generate": generate}[work.kind], autograph=False)


def _peak_mib() -> float | None:
    """Most memory that this process ever held. getrusage would count the parent's, before exec."""
    status = pathlib.Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None


def main() -> None:
    """Runs the work that its one argument describes."""
    begun = time.perf_counter()
    from figr_tf.core import console

    # As training does; otherwise page faults would be a sixth of the time at h = 64.
    console.reuse_freed_memory()
    device = console.start_tensorflow()
    imported = time.perf_counter()
    run = _work(Work(**json.loads(sys.argv[1])))
    built = time.perf_counter()
    # Fetching a value waits for it. On a GPU a call returns before its work is done.
    run().numpy()
    first_call = time.perf_counter() - built
    run().numpy()
    ready = {"device": device, "import_s": imported - begun, "first_call_s": first_call}
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run().numpy()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "peak_mib": _peak_mib()}), flush=True)


if __name__ == "__main__":
    main()
