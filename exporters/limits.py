"""What one request may ask for; recorded in the contract and enforced in the graph."""

import dataclasses

# As figr_tf.data.support_sets.MAX_SEED: every JSON reader keeps such an integer whole.
MAX_SEED = 2**53 - 1


@dataclasses.dataclass(frozen=True)
class Limits:
    """Largest values of one request.

    Attributes:
        max_num_shots: support images of a class (n); the smallest number is 1.
        max_num_inner_steps: inner steps (K); the smallest is 0.
        max_num_samples: samples (m); the smallest is 1.
        max_image_side: pixels along the longer side of a PNG; the smallest is 2.
        max_png_bytes: length of one PNG.
        max_num_queries: images that a request to a classifier asks about; the smallest is 1.
        max_num_tasks: tasks of one `generate_tasks` call (T); the smallest is 1.

    Raises:
        ValueError: a limit below what any request needs.
    """

    max_num_shots: int = 64
    max_num_inner_steps: int = 200
    max_num_samples: int = 256
    # A megapixel takes about 60 MB on its way through png.py.
    max_image_side: int = 1024
    max_png_bytes: int = 2**20
    max_num_queries: int = 64
    max_num_tasks: int = 16

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} must be a positive integer. Received: {value}")


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a request gets that does not say.

    Attributes:
        num_inner_steps: K.
        num_samples: m, of each task.
    """

    num_inner_steps: int
    num_samples: int
