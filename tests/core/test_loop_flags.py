"""Flags that commands which train share."""

import dataclasses

from figr_tf.core import console
from figr_tf.core.loop_flags import LoopFlags
from figr_tf.core.settings import TrainingSettings


def test_the_outer_loop_of_a_command_is_what_settings_take():
    flags = console.OwnFlags("a command that is imported")
    loop = LoopFlags(
        flags,
        meta_learning_rate=0.1,
        num_meta_steps=10,
        eval_every=5,
        eval_help="pictures",
        checkpoint_every=5,
    )
    flags.FLAGS(["command", "--seed=3", "--log_every=7"])
    settings = TrainingSettings(**loop.settings())
    given = {"meta_learning_rate": 0.1, "num_meta_steps": 10, "eval_every": 5, "seed": 3}
    assert given.items() <= dataclasses.asdict(settings).items()
    assert settings.log_every == 7
