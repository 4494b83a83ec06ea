"""Runs the protocol on something to judge and writes what came out."""

import dataclasses
import json
import math
import pathlib
from typing import NamedTuple

from figr_tf.core import runs
from figr_tf.data import datasets
from figr_tf.evaluation import features, protocol, scores, table
from figr_tf.evaluation.episodes import to_json
from figr_tf.evaluation.samplers import Judged


def episode_file(dataset: datasets.Dataset, plan: protocol.Plan) -> str:
    """The text of --write_episodes: the episodes of the first seed."""
    # Compared before foreign samples are judged: they were drawn for these episodes and no others.
    facts = {
        "split": dataset.split.name,
        "split_sha256": dataset.split.digest(),
        "num_shots": plan.num_shots,
    }
    return to_json(plan.episodes(plan.seeds[0]), facts)


class Data(NamedTuple):
    """What is judged on: the settings, all of the data with its split, and the feature network."""

    settings: datasets.DataSettings
    dataset: datasets.Dataset
    embedding: features.Embedding


def run(judged: Judged, data: Data, plan: protocol.Plan, outputs: dict[str, str | None]) -> None:
    """Prints the table; `outputs` names files for "json", "markdown" and "picture", or None."""
    # The table is printed before any file is written, so that no full disk takes it away.
    result = protocol.evaluate(plan, judged.sampler, data.embedding)
    text = table.to_markdown(result.rows)
    notes = "".join(f"\n{note}" for note in notes_on(data, plan))
    print(
        f"{judged.name}: {len(plan.classes)} classes of {data.settings.dataset},"
        f" n = {plan.num_shots}, M = {plan.num_samples}, {len(plan.seeds)} seeds\n\n{text}\n{notes}"
        f"\nadaptation {result.seconds['adaptation']:.0f} s,"
        f" everything else {result.seconds['everything else']:.0f} s",
        flush=True,
    )
    if outputs["markdown"]:
        pathlib.Path(outputs["markdown"]).write_text(text + "\n", encoding="utf-8")
    if outputs["json"]:
        pathlib.Path(outputs["json"]).write_text(
            json.dumps(_numbers(judged, data, plan, result), indent=1)
        )
    if outputs["picture"] and judged.sampler:
        protocol.picture(plan, judged.sampler, result, judged.row).save(outputs["picture"])


def notes_on(data: Data, plan: protocol.Plan) -> list[str]:
    """What a reader of this table has to know beyond docs/evaluation.md."""
    notes = [f"feature network: {data.embedding.trained_on}, sha256 {data.embedding.sha256[:12]}"]
    if data.settings.image_size != features.IMAGE_SIZE:
        small = f"{features.IMAGE_SIZE}×{features.IMAGE_SIZE}"
        notes.append(
            f"{data.settings.image_size}² images are shrunk to {small} before they are judged"
        )
    if data.settings.channels != 1:
        notes.append("colour: the embedding sees grey, blur sees colour")
    count = len(plan.classes)
    if count < scores.CAS_WAYS:
        ways = min(count, scores.RECOGNITION_WAYS)
        told = f"rec20 and 1-shot choose among {ways} classes, CAS100 among {count}"
        notes.append(told if count > 1 else "one class: nothing to recognise it among")
    if count < table.FEWEST_CLASSES:
        notes.append(
            f"intervals are over {count * len(plan.seeds)} supports of {count} classes and say"
            " nothing about other classes"
        )
    elif count < scores.FEW_CLASSES:
        notes.append(f"{count} classes: intervals are stretched as Student's")
    return notes


def _numbers(judged: Judged, data: Data, plan: protocol.Plan, result: protocol.Result) -> dict:
    settings, dataset, embedding = data
    rows = {name: _row_numbers(row) for name, row in result.rows.items()}
    return {
        "judged": judged.facts,
        # Where the data lay says nothing about the result, and is nobody else's business.
        "data": dataclasses.asdict(settings) | {"data_dir": None, "cache_dir": None},
        "split": dataset.split.name,
        "split_sha256": dataset.split.digest(),
        "embedding_sha256": embedding.sha256,
        "embedding_trained_on": embedding.trained_on,
        "versions": runs.versions(),
        "seeds": list(plan.seeds),
        "num_shots": plan.num_shots,
        "num_samples": plan.num_samples,
        "classes": list(plan.classes),
        "seconds": result.seconds,
        "rows": rows,
    }


def _row_numbers(row: table.Row) -> dict:
    energies = row.energy_distances
    return {
        "values": {column: _finite(value) for column, value in row.values.items()},
        "intervals": {column: [*map(_finite, ends)] for column, ends in row.intervals.items()},
        "energy_distance_per_class": {space: e.tolist() for space, e in energies.items()},
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
