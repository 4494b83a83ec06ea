"""Runs the protocol on something to judge and writes what came out."""

import dataclasses
import json
import pathlib

from figr_tf.core import runs
from figr_tf.data import datasets
from figr_tf.evaluation import features, protocol, table
from figr_tf.evaluation.episodes import to_json
from figr_tf.evaluation.samplers import Judged


def episode_file(dataset: datasets.Dataset, plan: protocol.Plan) -> str:
    """The text of --write_episodes: the episodes of the first seed."""
    facts = {
        "split": dataset.split.name,
        "split_sha256": dataset.split.digest(),
        "num_shots": plan.num_shots,
    }
    return to_json(plan.episodes(plan.seeds[0]), facts)


def run(
    judged: Judged, dataset: datasets.Dataset, plan: protocol.Plan, outputs: dict[str, str | None]
) -> None:
    """Prints the table; `outputs` names files for "json", "markdown" and "picture", or None."""
    result = protocol.evaluate(plan, judged.sampler)
    text = table.to_markdown(result.rows)
    print(
        f"{judged.name}: {len(plan.classes)} classes, n = {plan.num_shots}, M = {plan.num_samples},"
        f" {len(plan.seeds)} seeds\n\n{text}\n\nadaptation {result.seconds['adaptation']:.0f} s,"
        f" everything else {result.seconds['everything else']:.0f} s",
        flush=True,
    )
    if outputs["markdown"]:
        pathlib.Path(outputs["markdown"]).write_text(text + "\n", encoding="utf-8")
    if outputs["json"]:
        pathlib.Path(outputs["json"]).write_text(
            json.dumps(_numbers(judged, dataset, plan, result), indent=1)
        )
    if outputs["picture"] and judged.sampler:
        protocol.picture(plan, judged.sampler, result, judged.row).save(outputs["picture"])


def _numbers(
    judged: Judged, dataset: datasets.Dataset, plan: protocol.Plan, result: protocol.Result
) -> dict:
    rows = {
        name: {
            "values": row.values,
            "intervals": row.intervals,
            "energy_distance_per_class": {
                space: ed.tolist() for space, ed in row.energy_distances.items()
            },
        }
        for name, row in result.rows.items()
    }
    return {
        "judged": judged.facts,
        "data": dataclasses.asdict(judged.data_settings) | {"data_dir": None, "cache_dir": None},
        "split": dataset.split.name,
        "split_sha256": dataset.split.digest(),
        "embedding_sha256": features.EMBEDDING_SHA256,
        "versions": runs.versions(),
        "seeds": list(plan.seeds),
        "num_shots": plan.num_shots,
        "num_samples": plan.num_samples,
        "classes": list(plan.classes),
        "seconds": result.seconds,
        "rows": rows,
    }
