"""MODEL_CARD.md: what an export was trained on, how good it is, its limits, the licence of its data."""

import json
import pathlib
from typing import Any

from figr_tf.errors import UserError
from figr_tf.evaluation import table

_LICENCES = {
    "omniglot": "Omniglot: MIT licence, Brenden Lake (Lake, Salakhutdinov, Tenenbaum 2015).",
    "mnist": "MNIST: CC BY-SA 3.0, Yann LeCun and Corinna Cortes.",
    "figr8": "FIGR-8: icons from thenounproject.com, collected by Clouâtre and Demers (2019). The data set states no"
    " licence of its own; the icons are their designers', each under the terms of The Noun Project. Clear the use of"
    " this model with that in mind.",
    "folder": "A folder of the trainer's own images; their licence is the trainer's to state.",
    "glyphs": "Glyphs drawn by figr_tf itself; nobody else's data.",
}


def read_report(path: pathlib.Path, contract: dict[str, Any]) -> dict[str, Any]:
    """A report of `figr_tf.evaluate --json`.

    Raises:
        UserError: not one, or of another model.
    """
    try:
        report = json.loads(path.read_text())
        judged, rows = report["judged"], report["rows"]
        if not rows:
            raise ValueError("no rows")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a report of figr_tf.evaluate --json ({error}).") from error
    if judged.get("meta_step") != contract["model"]["meta_step"]:
        raise UserError(
            f"{path}: judges meta-step {judged.get('meta_step')}, this export is of meta-step"
            f" {contract['model']['meta_step']}. Evaluate this run, or leave --evaluation away."
        )
    return report


def write(contract: dict[str, Any], report: dict[str, Any] | None) -> str:
    """The card as Markdown."""
    maximum = {name: limit["maximum"] for name, limit in contract["limits"].items()}
    return f"""# Model card

Few-shot image generation with figr_tf (FIGR, Clouâtre & Demers 2019): takes a few images of one class, adapts to them
by {contract["defaults"]["num_inner_steps"]} inner steps where a request does not say, and draws new ones. Every request
starts from the same meta-weights; nothing is kept between requests.

{_facts(contract)}

## How good it is

{_evaluation(report)}

## Limits

One request takes 1 to {maximum["num_shots"]} images of at most {maximum["image_side"]} pixels a side, 0 to
{maximum["num_inner_steps"]} inner steps, and draws 1 to {maximum["num_samples"]} samples. It draws in the manner of its
training data; photographs are outside of it. Few inner steps give a blurred idea of the class; many may repeat the
support images, or diverge, which is an error. The same seed gives the same samples on the same device and version only.

## The data's licence

{_LICENCES[contract["training"]["dataset"]]}
"""


def _facts(contract: dict[str, Any]) -> str:
    model, training, images = contract["model"], contract["training"], contract["images"]
    network = model["network"]
    weights = model["num_generator_parameters"] + model["num_discriminator_parameters"]
    shape = f"{images['height']}×{images['width']}×{images['channels']}"
    rows = {
        "network": f"{network['architecture']}, h = {network['hidden']}, {shape}, {weights:,} weights",
        "meta-training": f"{model['meta_step']:,} meta-steps of n = {training['num_shots']},"
        f" K = {training['num_inner_steps']}",
        "trained on": f"{training['dataset']}, {training['num_training_classes']:,} classes",
        "held out": f"{training['num_held_out_classes']:,} classes, split {training['split']}",
        "sha256 of the split": training["split_sha256"],
        "sha256 of the data": training["data_sha256"],
        "fingerprint": model["fingerprint"],
        "images": "values in [0, 1], ink 0, paper 1",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _evaluation(report: dict[str, Any] | None) -> str:
    if report is None:
        return "Not evaluated. `python -m figr_tf.evaluate --run RUN --json=FILE` does it."
    rows = {name: table.Row(row["values"], row["intervals"], {}) for name, row in report["rows"].items()}
    return (
        f"{len(report['classes'])} held-out classes, n = {report['num_shots']}, {report['num_samples']} samples each,"
        f" {len(report['seeds'])} seeds. Skill: real drawings 1, copies of the support 0; see docs/evaluation.md of"
        f" figr_tf.\n\n{table.to_markdown(rows)}"
    )
