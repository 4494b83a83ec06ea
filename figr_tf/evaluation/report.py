"""Runs the protocol on something to judge, and says what came out."""

import dataclasses
from typing import Any, NamedTuple

from PIL import Image

from figr_tf import models
from figr_tf.core import runs
from figr_tf.data import datasets
from figr_tf.data.splits import Split
from figr_tf.evaluation import features, protocol, scores, table
from figr_tf.evaluation.episodes import drawings_sha256, to_json
from figr_tf.evaluation.judged import Judged


def episode_file(dataset: datasets.Dataset, plan: protocol.Plan) -> str:
    """The text of --write_episodes: the episodes of the first seed."""
    size, _, channels = dataset.data.images.shape[1:]
    # Compared before foreign samples are judged: they were drawn for these episodes and no others.
    facts = {
        "split": dataset.split.name,
        "split_sha256": dataset.split.digest(),
        "num_shots": plan.num_shots,
        "image_size": size,
        "channels": channels,
        "drawings_sha256": drawings_sha256(plan.classes),
    }
    return to_json(plan.episodes(plan.seeds[0]), facts)


class Data(NamedTuple):
    """What is judged on: the settings, all of the data with its split, and the feature network."""

    settings: datasets.DataSettings
    dataset: datasets.Dataset
    embedding: features.Embedding


class Report(NamedTuple):
    """What came out."""

    judged: Judged
    data: Data
    plan: protocol.Plan
    result: protocol.Result

    def to_markdown(self) -> str:
        """The table alone."""
        return table.to_markdown(self.result.rows)

    def text(self) -> str:
        """For people."""
        plan, seconds = self.plan, self.result.seconds
        notes = "".join(f"\n{note}" for note in notes_on(self.data, plan))
        return (
            f"{self.judged.name}: {len(plan.classes)} classes of {self.data.settings.dataset},"
            f" n = {plan.num_shots}, M = {plan.num_samples}, {len(plan.seeds)} seeds"
            f"\n\n{self.to_markdown()}\n{notes}"
            f"\nadaptation {seconds['adaptation']:.0f} s,"
            f" everything else {seconds['everything else']:.0f} s"
        )

    def numbers(self) -> dict[str, Any]:
        """For machines."""
        settings, dataset, embedding = self.data
        rows = {name: _row_numbers(row) for name, row in self.result.rows.items()}
        return {
            "judged": self.judged.facts,
            # Where the data lay says nothing about the result, and is nobody else's business.
            "data": dataclasses.asdict(settings) | {"data_dir": None, "cache_dir": None},
            "split": dataset.split.name,
            "split_sha256": dataset.split.digest(),
            "embedding_sha256": embedding.sha256,
            "embedding_trained_on": embedding.trained_on,
            "versions": runs.versions(),
            "seeds": list(self.plan.seeds),
            "num_shots": self.plan.num_shots,
            "num_samples": self.plan.num_samples,
            "classes": list(self.plan.classes),
            "seconds": self.result.seconds,
            "rows": rows,
        }

    def picture(self) -> Image.Image | None:
        """The best, median and worst classes at the largest K; None if nothing was drawn."""
        if not self.judged.sampler:
            return None
        return protocol.picture(self.plan, self.judged.sampler, self.result, self.judged.row)


def make(judged: Judged, data: Data, plan: protocol.Plan) -> Report:
    """Draws and scores: what takes the time."""
    return Report(judged, data, plan, protocol.evaluate(plan, judged.sampler, data.embedding))


def notes_on(data: Data, plan: protocol.Plan) -> list[str]:
    """What a reader of this table has to know beyond docs/evaluation.md."""
    notes = [f"feature network: {data.embedding.trained_on}, sha256 {data.embedding.sha256[:12]}"]
    if seen := _seen_by_the_network(data, plan):
        notes.append(
            f"feature network: was trained on {seen} of these {len(plan.classes)} classes, and"
            " tells them apart better than new ones"
        )
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


def _seen_by_the_network(data: Data, plan: protocol.Plan) -> int:
    """Classes that the network which ships was trained on: Omniglot's background characters.

    Others are refused if they have seen any, see `feature_training.choose`.
    """
    shipped = data.embedding.sha256 == features.EMBEDDING_SHA256
    if not shipped or data.settings.dataset != "omniglot":
        return 0
    # The shipped pair was trained on these same characters, and its folder has the list.
    return len(set(plan.classes) & set(Split.of_run(models.find("omniglot-32")).training))


def _row_numbers(row: table.Row) -> dict:
    energies = row.energy_distances
    return {
        "values": dict(row.values),
        "intervals": {column: list(ends) for column, ends in row.intervals.items()},
        "energy_distance_per_class": {space: e.tolist() for space, e in energies.items()},
    }
