"""One thing to time, in a process of its own: says when it is ready, then runs once for every line it is sent.

  python -m benchmarks.worker '{"kind": "meta_step", "hidden": 4}'

Prints one JSON line when warm (seconds to import and to build the graph, memory), then the seconds of each run.
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
        kind: "meta_step"; "adapt"; "generate" (adapt, then 64 samples); "exported" (the same through a SavedModel's
            generate_tensor signature); "sampling" (drawing one support set).
        num_tasks: tasks of the meta-batch, or of `adapt`, side by side.
        saved_model: of "exported".
    """

    kind: str
    hidden: int = 16
    image_size: int = 32
    num_shots: int = 4
    num_inner_steps: int = 10
    num_tasks: int = 1
    num_samples: int = 64
    saved_model: str = ""


def _support(work: Work):
    import tensorflow as tf

    shape = [work.num_tasks, work.num_shots, work.image_size, work.image_size, 1]
    return tf.random.stateless_uniform(shape, [0, 0], -1, 1)


def _exported(work: Work) -> Callable[[], Any]:
    import tensorflow as tf

    generate = tf.saved_model.load(work.saved_model).signatures["generate_tensor"]
    support = _support(work)[0] / 2 + 0.5
    counts = {"num_samples": tf.constant(work.num_samples), "num_inner_steps": tf.constant(work.num_inner_steps)}
    return lambda: generate(support_images=support, seed=tf.constant(0, tf.int64), **counts)["images"]


def _sampling(work: Work) -> Callable[[], Any]:
    import numpy as np
    import tensorflow as tf

    from figr_tf import adaptation, image_trees, tasks

    names = tuple(f"class{i}" for i in range(964))  # as many as Omniglot's background set has
    pixels = np.zeros([20 * len(names), work.image_size, work.image_size, 1], np.uint8)
    data = image_trees.ClassImages(pixels, dict.fromkeys(names, 20))
    sampler = tasks.TaskSampler(tf.constant(pixels), data, names, work.num_shots)
    return tf.function(lambda: sampler.random_support_images(adaptation.stateless_seed(0)), autograph=False)


def _work(work: Work) -> Callable[[], Any]:
    if work.kind == "exported":
        return _exported(work)
    if work.kind == "sampling":
        return _sampling(work)
    import tensorflow as tf

    from figr_tf import adaptation, generation, networks, reptile

    pair = networks.build_networks(networks.NetworkSpec(hidden=work.hidden, image_size=work.image_size), seed=0)
    step, support = adaptation.InnerStep(), _support(work)
    seeds = tf.stack([adaptation.stateless_seed(0, t) for t in range(work.num_tasks)])
    state = reptile.Reptile(pair, reptile.Adam(1e-5), reptile.Adam(1e-5))

    def meta_step():
        arguments = (pair, adaptation.weights_of(pair), support, work.num_inner_steps, step, seeds, work.num_tasks)
        return state.descend(*reptile.meta_gradient(*arguments)).losses.generator

    def adapt():
        start = adaptation.side_by_side(adaptation.weights_of(pair), work.num_tasks)
        return adaptation.adapt(pair, start, support, work.num_inner_steps, step, seeds).generator[-1]

    def generate():
        weights = adaptation.weights_of(pair)
        arguments = (work.num_inner_steps, step, work.num_samples, 0)
        return generation.adapt_and_generate(pair, weights, support[0], *arguments)

    return tf.function({"meta_step": meta_step, "adapt": adapt, "generate": generate}[work.kind], autograph=False)


def _peak_mib() -> float | None:
    """Most memory this process ever held. (getrusage would count the parent's, from before exec.)"""
    status = pathlib.Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None


def main() -> None:
    begun = time.perf_counter()
    from figr_tf import console

    console.reuse_freed_memory()
    device = console.start_tensorflow()
    imported = time.perf_counter()
    run = _work(Work(**json.loads(sys.argv[1])))
    built = time.perf_counter()
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
