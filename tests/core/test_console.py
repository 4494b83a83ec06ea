"""What is shown where there is no terminal."""

import itertools

from figr_tf.core import console


def test_without_a_terminal_there_is_a_plain_line_a_minute_with_the_time_left(capsys, monkeypatch):
    clock = itertools.count(0, 25.0)  # each look at the clock finds it 25 seconds on
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    assert list(console.track(list("abcdefgh"), "adapting", "classes")) == list("abcdefgh")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["adapting: 2/8 classes  ETA 0:03:45", "adapting: 5/8 classes  ETA 0:01:30"]


def test_progress_leaves_the_first_step_out_of_the_rate(capsys, monkeypatch):
    """It holds the compilation."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    progress = console.Progress(0, 10, {"discriminator_loss": "D"})
    for seconds in (100.0, 2.0, 2.0):
        now[0] += seconds
        progress.count_meta_steps(1)
    assert progress.meta_steps_per_second() == 0.5
    progress.show(
        {"meta_step": 3, "meta_steps_per_second": 0.5, "discriminator_loss": 1.0, "num_skipped": 2}
    )
    assert (
        capsys.readouterr().out == "meta-step 3/10  D 1  skipped 2  0.5 meta-steps/s  ETA 0:00:14\n"
    )
