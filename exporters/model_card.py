"""MODEL_CARD.md of an export: its training, how good it is, its limits, its data's licence."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from exporters.contract import Facts
from figr_tf.core.errors import UserError
from figr_tf.evaluation import table

_LICENCES = {
    "omniglot": "Omniglot: MIT licence, Brenden Lake (Lake, Salakhutdinov, Tenenbaum 2015).",
    "mnist": "MNIST: CC BY-SA 3.0, Yann LeCun and Corinna Cortes.",
    "figr8": "FIGR-8: icons from thenounproject.com, collected by Clouâtre and Demers (2019). The"
    " data set states no licence of its own; the icons are their designers', each under the terms"
    " of The Noun Project. Clear the use of this model with that in mind.",
    "icons": "Icons of many open sets, each under its own licence (MIT, Apache-2.0, CC BY, OFL and"
    " the like). SOURCES.txt in the data names sets, licences and authors, and CC BY asks that they"
    " be named.",
    "folder": "A folder of the trainer's own images; their licence is the trainer's to state.",
    "glyphs": "Glyphs drawn by figr_tf itself; nobody else's data.",
}


_MEND = (
    "Evaluate this run anew, or export it without a report: no --evaluation, and no evaluation.json"
    " in the run's folder."
)


def read_report(path: pathlib.Path, kind: str, facts: Facts) -> dict[str, Any]:
    """A report of `figr_tf.evaluate --json`, or of `figr_tf.evaluate_classifier --json`.

    Args:
        kind, facts: of the export that the report is to be about.

    Raises:
        UserError: not such a report, or of another model.
    """
    try:
        report = json.loads(path.read_text())
        judged, rows = _judged(report, kind, facts), report["rows"]
        if not rows:
            raise ValueError("no rows")
        found = dict(judged.get("settings", {}))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        command = _evaluating(kind)
        raise UserError(f"{path}: not a report of {command} --json ({error}).") from error
    # A report of an earlier checkpoint, or of another run, would pass for this export's.
    exported = {name: facts.model.get(name) for name in ("meta_step", "weights_sha256")}
    if exported["weights_sha256"] is None:
        # A pair that adapts is known by how it was trained; every run has a seed.
        identity = facts.training["identity"]
        exported |= {k: v for k, v in identity.items() if k in found or k == "seed"}
    found |= {name: judged.get(name) for name in ("meta_step", "weights_sha256")}
    for name, value in exported.items():
        if found.get(name) != value:
            raise UserError(
                f"{path}: judges {name} {found.get(name)}, this export is of {value}. {_MEND}"
            )
    # Runs of the same length on other data have the same number of meta-steps. A classifier is
    # known by its weights.
    if kind != "classify" and report.get("split_sha256") != facts.training["split_sha256"]:
        raise UserError(
            f"{path}: judges on another split of classes than the one that this run was trained"
            f" with. {_MEND}"
        )
    return report


def _judged(report: dict[str, Any], kind: str, facts: Facts) -> dict[str, Any]:
    """What tells the model that a report is about. A classifier's report may be about several."""
    if kind != "classify":
        return report["judged"]
    judged = list(report["runs"].values())
    weights = facts.model["weights_sha256"]
    # If none of them is this model, any will do: the caller's comparison names the difference.
    return next((one for one in judged if one["weights_sha256"] == weights), judged[0])


def _evaluating(kind: str) -> str:
    """The command that judges such a model."""
    return f"figr_tf.evaluate{'_classifier' if kind == 'classify' else ''}"


def write(contract: dict[str, Any], report: dict[str, Any] | None) -> str:
    """The card as Markdown; `report` is what `read_report` returns, or None."""
    introduction, facts, limits = _kind(contract)(contract)
    return f"""# Model card

{introduction} Nothing is kept between requests.

{facts}

## How good it is

{_evaluation(report, contract)}

## Limits

{limits}

## The data's licence

{_LICENCES[contract["training"]["dataset"]]}
"""


def _kind(contract: dict[str, Any]) -> Callable[[dict[str, Any]], tuple[str, str, str]]:
    if contract["kind"] == "classify":
        return _classifying
    # Only a model with an inner loop says which one.
    return _adapting if "inner" in contract["model"] else _redrawing


def _drawing_limits(contract: dict[str, Any], sentences: str) -> str:
    maximum = _maxima(contract)
    if contract["kind"] == "tasks":
        request = f"""One request takes 1 to {maximum["num_tasks"]} classes of 1 to
{maximum["num_shots"]} images, and draws {maximum["num_samples"]} samples of each."""
    else:
        request = f"""One request takes 1 to {maximum["num_shots"]} images of at most
{maximum["image_side"]} pixels a side and draws 1 to {maximum["num_samples"]} samples."""
    return f"""{request} {sentences}
The same seed gives the same samples on the same device and version only."""


def _maxima(contract: dict[str, Any]) -> dict[str, int]:
    return {name: limit["maximum"] for name, limit in contract["limits"].items()}


def _adapting(contract: dict[str, Any]) -> tuple[str, str, str]:
    """Introduction, facts and limits of a meta-initialisation."""
    model, training = contract["model"], contract["training"]
    network = model["network"]
    weights = model["num_generator_parameters"] + model["num_discriminator_parameters"]
    most = _maxima(contract)["num_inner_steps"]
    if contract["kind"] == "tasks":
        adapts, choice = f"{most} inner steps", ""
    else:
        default = contract["defaults"]["num_inner_steps"]
        adapts = f"{default} inner steps\nwhere a request does not say"
        choice = f"It adapts by 0 to {most} inner steps.\n"
    introduction = f"""Few-shot image generation with figr_tf (FIGR, Clouâtre & Demers 2019): takes
a few images of one class, adapts to them by {adapts}, and draws new ones. Every request starts from
the same meta-weights."""
    steps = f"n = {training['num_shots']}, K = {training['num_inner_steps']}"
    facts = _facts(
        contract,
        {
            "network": f"{network['architecture']}, h = {network['hidden']}, {_shape(contract)},"
            f" {weights:,} weights",
            "meta-training": f"{model['meta_step']:,} meta-steps of {steps}",
        },
    )
    limits = f"""{choice}It draws in the manner of its training data; photographs are outside of it.
Few inner steps give a blurred idea of the class; many may repeat the support images, or diverge,
which is an error."""
    return introduction, facts, _drawing_limits(contract, limits)


def _redrawing(contract: dict[str, Any]) -> tuple[str, str, str]:
    """The same of a warp generator."""
    model, training = contract["model"], contract["training"]
    introduction = """Few-shot image generation with figr_tf: takes a few images of one class and
redraws them, each sample one of the images in a pose, with bends and with a stroke width of its
own. There is no inner loop: a request is one pass."""
    facts = _facts(
        contract,
        {
            "network": f"warp generator, {_shape(contract)},"
            f" {model['num_generator_parameters']:,} weights",
            "training": f"{model['meta_step']:,} steps of n = {training['num_shots']}",
            "sha256 of the weights": model["weights_sha256"],
        },
    )
    limits = """It redraws line drawings; what none of the images shows, it cannot draw, and of
photographs it makes black and white patches."""
    return introduction, facts, _drawing_limits(contract, limits)


def _classifying(contract: dict[str, Any]) -> tuple[str, str, str]:
    """The same of a classifier."""
    model, training, maximum = contract["model"], contract["training"], _maxima(contract)
    network, inner = model["network"], model["inner"]
    introduction = f"""A few-shot classifier of figr_tf (Reptile: Nichol, Achiam & Schulman 2018).
It takes a few images of each of 2 to {maximum["num_classes"]} classes, adapts to them by
{contract["defaults"]["num_inner_steps"]} inner steps where a request does not say, and tells of
other images which class they are of. Every request starts from the same meta-weights, and from the
same second moments of the inner optimiser."""
    facts = _facts(
        contract,
        {
            "network": f"{network['architecture']}, {network['filters']} filters,"
            f" {_shape(contract)}, {model['num_parameters']:,} weights",
            "inner steps": f"{inner['optimizer']}, rate {inner['learning_rate']:g},"
            f" {inner['batch_size']} images a step",
            "meta-training": f"{model['meta_step']:,} meta-steps of"
            f" {network['num_classes']} classes with {training['num_shots']} images each,"
            f" K = {training['num_inner_steps']}",
            "sha256 of the weights": model["weights_sha256"],
        },
    )
    limits = f"""One request takes 2 to {maximum["num_classes"]} classes, 1 to
{maximum["num_shots"]} images of each and 1 to {maximum["num_queries"]} queries, of at most
{maximum["image_side"]} pixels a side. It adapts by 0 to {maximum["num_inner_steps"]} inner steps.
It always answers with one of the classes it was shown: that an image is of none of them, it cannot
say. Its probabilities are not calibrated. Each query is answered by itself (not transductive).
The same request gives the same answer on the same device and version only."""
    return introduction, facts, limits


def _shape(contract: dict[str, Any]) -> str:
    images = contract["images"]
    return f"{images['height']}×{images['width']}×{images['channels']}"


def _facts(contract: dict[str, Any], rows: dict[str, Any]) -> str:
    model, training = contract["model"], contract["training"]
    rows = rows | {
        "trained on": f"{training['dataset']}, {training['num_training_classes']:,} classes",
        "held out": f"{training['num_held_out_classes']:,} classes, split {training['split']}",
        "sha256 of the split": training["split_sha256"],
        "sha256 of the data": training["data_sha256"],
        "fingerprint": model["fingerprint"],
        "images": "values in [0, 1], ink 0, paper 1",
    }
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    )


def _evaluation(report: dict[str, Any] | None, contract: dict[str, Any]) -> str:
    if report is None:
        command = _evaluating(contract["kind"])
        return f"Not evaluated. `python -m {command} --run RUN --json=FILE` does it."
    if contract["kind"] == "classify":
        return _accuracies(report)
    return (
        f"{len(report['classes'])} held-out classes, n = {report['num_shots']},"
        f" {report['num_samples']} samples each, {len(report['seeds'])} seeds. Skill: real drawings"
        " 1, copies of the support 0; see docs/evaluation.md of figr_tf.\n\n"
        + table.to_markdown(table.rows_of(report))
    )


def _accuracies(report: dict[str, Any]) -> str:
    columns = list(next(iter(report["rows"].values())))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, cells in report["rows"].items():
        values = [f"{cells[c]['mean']:.2f} ± {cells[c]['margin']:.2f}" for c in columns]
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return (
        f"Per cent right with 95 % intervals; {report['num_tasks']:,} tasks a column of the split"
        f" {report['split']}. Transductive: all queries of a task in one pass.\n\n"
        + "\n".join(lines)
    )
