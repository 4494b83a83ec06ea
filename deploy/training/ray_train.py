"""Meta-training on a Ray cluster.

Ray starts the workers and tells each of the others; figr_tf does the rest.

  python deploy/training/ray_train.py 2 --flagfile=/shared/omniglot.flags \
    --run=/shared/runs/omniglot --meta_batch_size=2

The first argument is the number of workers, the others are flags of figr_tf.train. figr_tf and
ray[train] are installed on every host, and --run is on storage that all of them share: which host
is worker 0 is for Ray to choose. After the loss of a worker Ray starts all again, and they
continue; an error that would come again, such as a misspelt flag, ends the job with status 1. When
a job is stopped, Ray kills its workers: what follows the last checkpoint is lost.
"""

import subprocess
import sys

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.tensorflow import TensorflowTrainer


def _train(config: dict[str, list[str]]) -> int:
    # A process of its own, since Ray calls this in a thread and signals come to main threads. It
    # inherits TF_CONFIG.
    ended = subprocess.run(
        [sys.executable, "-m", "figr_tf.train", "--distribute=multi_worker", *config["flags"]]
    )
    if ended.returncode not in (0, 1):
        ended.check_returncode()
    return ended.returncode  # an error of the user's is not raised: whatever is, Ray tries again


def main() -> None:
    """Starts the workers and waits for them."""
    num_workers, *train_flags = sys.argv[1:]
    ray.init()
    result = TensorflowTrainer(
        _train,
        train_loop_config={"flags": train_flags},
        scaling_config=ScalingConfig(
            num_workers=int(num_workers), use_gpu="GPU" in ray.cluster_resources()
        ),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=20)),
    ).fit()
    sys.exit(result.return_value)  # worker 0's (Ray 2.60)


if __name__ == "__main__":
    main()
