"""Meta-trains a small network on sine waves in half a minute, and draws what it learned.

  python -m figr_tf.sine --out sine.png

The plot of OpenAI's Reptile post (2018): ten given points of a wave, and the network's curve after
0, 8, 16, 24 and 32 steps of gradient descent on them, beside a network that was never trained.
"""

from figr_tf.core import command, console

flags = console.OwnFlags(__name__)

_OUT = flags.DEFINE_path("out", "sine.png", "Picture to write.")
_NUM_META_STEPS = flags.DEFINE_integer("num_meta_steps", 30_000, "Meta-steps.", 1)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the initial weights and of every draw.", 0, 2**31 - 1
)
_RUNS_DIR = flags.DEFINE_path("runs_dir", "runs", "Folder of the numbered run folders.")
_RUN = flags.DEFINE_path("run", None, "This very run folder instead of a numbered one.")


def main() -> None:
    """Trains, and saves the plot."""
    console.check_output(_OUT.value)
    with command.devices() as devices:
        from figr_tf.sine.system import SineSettings, SineSystem

        settings = SineSettings(num_meta_steps=_NUM_META_STEPS.value, seed=_SEED.value)
        training = command.Training(
            settings=settings,
            data_facts={},
            files={},
            plan=f"sine waves, {settings.num_meta_steps} meta-steps",
            build_system=lambda compiled: SineSystem(settings),
        )
        trained = command.run(training, command.Place(_RUN.value, _RUNS_DIR.value), devices)
        next(trained.pictures(None)).save(_OUT.value)
        print(f"look at {_OUT.value}", flush=True)


if __name__ == "__main__":
    console.run(main)
