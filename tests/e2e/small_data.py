"""Five classes of four drawings, which a command reads in no time: to draw glyphs takes seconds."""

import tempfile

# Goes with the process that runs the tests.
_CACHE = tempfile.TemporaryDirectory(prefix="figr_tf-")
FLAGS = ("--dataset=folder", "--data_dir=examples", f"--cache_dir={_CACHE.name}")
# The smallest pair on them.
PAIR = (
    *FLAGS,
    "--architecture=lean",
    "--blocks_per_stage=0",
    "--hidden=2",
    "--image_size=16",
    "--latent_dim=8",
    "--num_shots=3",
)
# Checkpoints after every meta-step, so that a kill often lands in the middle of a save.
TRAIN = [
    *PAIR,
    "--num_inner_steps=2",
    "--meta_learning_rate=1e-3",
    "--num_meta_steps=30",
    "--log_every=5",
    "--eval_every=100",
    "--checkpoint_every=1",
]
