"""How skill over copying grows with meta-training: a table and a plot of one FIGR run.

  python -m figr_tf.train --flagfile flags/omniglot-best.flags --keep_checkpoints=100 --run=RUN
  python -m benchmarks.learning_curve --run=RUN --out=curve.png --json=curve.json

Every checkpoint asked for adapts to the same held-out characters with the same seeds. The JSON file
is written after each of them, and what stands there is not measured again.
"""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

from figr_tf.core import console
from figr_tf.core.errors import UserError
from figr_tf.core.runs import RunFolder, checkpointed_meta_steps
from figr_tf.evaluation.report_flags import rising

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_path("run", None, "Run folder of figr_tf.train.", required=True)
_DATA_DIR = flags.DEFINE_path(
    "data_dir", None, "Folder of the run's data. Default: as in the run's settings."
)
_META_STEPS = flags.DEFINE_list(
    "meta_steps", [], "Checkpoints to judge, by their meta-step. Default: all that are there."
)
_NUM_INNER_STEPS = flags.DEFINE_list(
    "num_inner_steps", ["10", "50", "150"], "Inner steps (K), one curve each."
)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 16, "Held-out classes, a fixed choice.", 2)
_OUT = flags.DEFINE_path("out", "learning-curve.png", "Plot to write.")
_JSON = flags.DEFINE_path("json", "learning-curve.json", "Measured points; goes on from there.")

# n and M of the results table, with one seed: each point costs an adaptation to every class.
_NUM_SHOTS, _NUM_SAMPLES, _SEED = 4, 64, 0
_REFERENCES = {"support + small affine": ":", "support + large affine": "--"}
_COLOURS = ("#1b6ca8", "#c0392b", "#1e8449", "#8e44ad")


@contextlib.contextmanager
def _as_it_was(run: pathlib.Path, meta_step: int) -> Iterator[pathlib.Path]:
    """A run folder of links to `run`, of whose checkpoints it holds one."""
    with tempfile.TemporaryDirectory() as scratch:
        view = pathlib.Path(scratch)
        # Whatever loads a run takes its newest checkpoint. So each is shown a folder that has one
        # only. What begins with a dot is a lock or half a file.
        for path in run.iterdir():
            if path.is_file() and not path.name.startswith("."):
                (view / path.name).symlink_to(path.absolute())
        (view / "checkpoints").mkdir()
        for path in (run / "checkpoints").glob(f"ckpt-{meta_step:09d}.*"):
            (view / "checkpoints" / path.name).symlink_to(path.absolute())
        yield view


def minutes_of(metrics: str, meta_step: int) -> float:
    """How long the first `meta_step` meta-steps took.

    Args:
        metrics: the text of a run's metrics.jsonl. A line's rate is that since the line before.
    """
    seconds, before = 0.0, 0
    for line in map(json.loads, metrics.splitlines()):
        # Lines about held-out tasks have no rate, nor has the first of a run that was continued.
        if not line.get("meta_steps_per_second") or not before < line["meta_step"] <= meta_step:
            continue
        # Rates and not the clock: a run may have been stopped for a night in between.
        seconds += (line["meta_step"] - before) / line["meta_steps_per_second"]
        before = line["meta_step"]
    return seconds / 60


def _steps() -> list[int]:
    return rising(_NUM_INNER_STEPS, int, 0, "whole numbers, 0 or more")


def _meta_steps() -> list[int]:
    return rising(_META_STEPS, int, 0, "whole numbers, 0 or more", may_be_empty=True)


def _plan():
    from figr_tf import models
    from figr_tf.data import datasets
    from figr_tf.evaluation import protocol
    from figr_tf.evaluation.episodes import choose_classes

    data = models.load_figr(_RUN.value).settings.data
    data = data.elsewhere(_DATA_DIR.value, data.cache_dir)
    dataset = datasets.load_dataset(data, num_shots=_NUM_SHOTS)
    classes = dataset.images_of(choose_classes(dataset.split.held_out, _NUM_CLASSES.value))
    return protocol.Plan(classes, _NUM_SHOTS, _NUM_SAMPLES, (_SEED,))


def _skills(plan, run: pathlib.Path, steps: list[int]) -> dict[str, dict[str, float]]:
    """Row → its two skills, of one run folder."""
    from figr_tf import models
    from figr_tf.evaluation import protocol

    model = models.load_figr(run)

    def sample(support, _, seed):
        # One adaptation passes all K on its way.
        drawn = model.samples_along(support, steps, _NUM_SAMPLES, seed)
        return {f"K = {k}": images for k, images in zip(steps, drawn, strict=True)}

    rows = protocol.evaluate(plan, sample).rows
    wanted = [*_REFERENCES, *(f"K = {k}" for k in steps)]
    return {
        name: {key: v for key, v in rows[name].values.items() if key.startswith("skill")}
        for name in wanted
    }


def _plot(points: list[dict], spaces: list[str]):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, len(spaces), sharey=True)
    at = [point["meta_step"] for point in points]
    for panel, space in zip(panels, spaces, strict=True):
        # The reference rows do not depend on the checkpoint, so they are lines across the panel.
        curves = [name for name in points[0]["skills"] if name not in _REFERENCES]
        # There are colours for four curves; a fifth would be left out.
        for name, colour in zip(curves, _COLOURS, strict=False):
            heights = [point["skills"][name][space] for point in points]
            panel.plot(at, heights, "o-", color=colour, label=name)
        for name, style in _REFERENCES.items():
            panel.axhline(points[-1]["skills"][name][space], color="gray", ls=style, label=name)
        panel.axhline(0, color="black", lw=0.8)
        # Below −1 it makes no difference how bad; an untrained pair would press the rest together.
        panel.set(title=space, xlabel="meta-steps", ylim=(-1, 1))
        in_minutes = panel.secondary_xaxis("top")
        in_minutes.set_xticks(at, [f"{point['minutes']:.0f} min" for point in points], fontsize=7)
        # Above the axis of minutes.
        panel.title.set_y(1.12)
    panels[0].set_ylabel("skill over copying")
    panels[-1].legend(fontsize=7, loc="lower right")
    return figure


def read_points(file: pathlib.Path, facts: dict[str, Any]) -> dict[int, dict]:
    """The points that were measured before, by their meta-step.

    Raises:
        UserError: the file is of something else: another run, other K or other classes.
    """
    if not file.exists():
        return {}
    recorded = json.loads(file.read_text())
    if not isinstance(recorded, dict) or recorded.get("facts") != facts:
        raise UserError(
            f"{file}: is of another run, other K or other classes. Name another --json."
        )
    return {point["meta_step"]: point for point in recorded["points"]}


def _points(run: RunFolder) -> list[dict]:
    steps, asked = _steps(), _meta_steps()
    there = sorted(checkpointed_meta_steps(run.checkpoints))
    asked = asked or there
    if not set(asked) <= set(there) or not there:
        raise UserError(f"{run.path}: has checkpoints of meta-steps {there}, not all of {asked}.")
    file, plan = pathlib.Path(_JSON.value), _plan()
    facts = {
        "identity": run.read_identity(),
        "num_inner_steps": steps,
        "classes": list(plan.classes),
    }
    points = read_points(file, facts)
    metrics = (run.path / "metrics.jsonl").read_text()
    for meta_step in asked:
        if meta_step in points:
            continue
        with _as_it_was(run.path, meta_step) as view:
            skills = _skills(plan, view, steps)
        points[meta_step] = {
            "meta_step": meta_step,
            "minutes": round(minutes_of(metrics, meta_step), 1),
            "skills": skills,
        }
        # After every point, since each takes minutes.
        found = {"facts": facts, "points": [points[m] for m in sorted(points)]}
        file.write_text(json.dumps(found, indent=1) + "\n")
    return [points[m] for m in asked]


def main() -> None:
    """Judges the checkpoints, prints the table and plots it."""
    console.check_output(_OUT.value)
    console.check_output(_JSON.value, (".json",))
    # What is no number is known before the data is read.
    _ = _steps(), _meta_steps()
    console.start_tensorflow()
    points = _points(RunFolder(pathlib.Path(_RUN.value)))
    names = list(points[-1]["skills"])
    spaces = list(points[-1]["skills"][names[0]])
    print(
        "| meta-steps | minutes | " + " | ".join(names) + " |\n|---|---" + "|---" * len(names) + "|"
    )
    for point in points:
        cells = (" / ".join(f"{v:.2f}" for v in point["skills"][n].values()) for n in names)
        print(f"| {point['meta_step']} | {point['minutes']} | " + " | ".join(cells) + " |")
    _plot(points, spaces).savefig(_OUT.value, dpi=120)


if __name__ == "__main__":
    console.run(main)
