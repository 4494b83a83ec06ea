"""The plot of gradient sums of OpenAI's Reptile post (2018; arXiv:1803.02999, figure 3).

In each of ten runs Φ moves by another combination of the gradients g₁ … g₄ of four inner steps of
plain SGD on disjoint minibatches: by the last one, by the sum of the first k, or by their average.
The settings are those of the commands in the README of openai/supervised-reptile.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from matplotlib.figure import Figure

from figr_tf.classifier.adaptation import InnerLoop
from figr_tf.classifier.settings import ClassifierSettings
from figr_tf.core.runs import RunFolder

MAX_STEPS = 4
HELD_OUT_STEPS = 5  # Of the whole support at once, on a held-out task.
_STYLES = {"last": "-", "sum": "--", "average": ":"}


class Combination(NamedTuple):
    """Which gradients move Φ: of `num_steps` inner steps the "last", the "sum" or the "average"."""

    kind: str
    num_steps: int

    @property
    def label(self) -> str:
        """Such as "g₁ + g₂"."""
        names = [f"g{'₁₂₃₄'[k]}" for k in range(self.num_steps)]
        if self.kind == "last":
            return names[-1]
        everything = " + ".join(names)
        return everything if self.kind == "sum" else f"({everything}) / {self.num_steps}"

    @property
    def folder(self) -> str:
        """Name of its run folder."""
        return f"{self.kind}-{self.num_steps}"

    def settings(self, base: ClassifierSettings) -> ClassifierSettings:
        """Those of its run.

        An inner batch is 5 images per class, and a task has as many as the k batches need, so that
        no image is in two of them.
        """
        batch_size = 5 * base.network.num_classes
        # The average is the sum with a smaller outer step: Φ − W is the sum of the gradients times
        # the inner rate.
        share = self.num_steps if self.kind == "average" else 1
        return dataclasses.replace(
            base,
            inner=dataclasses.replace(base.inner, batch_size=batch_size, num_steps=self.num_steps),
            train_shots=5 * self.num_steps,
            eval_batch_size=batch_size,
            eval_inner_steps=HELD_OUT_STEPS,
            foml=self.kind == "last",
            meta_learning_rate=base.meta_learning_rate / share,
        )


def combinations() -> Iterator[Combination]:
    """The ten of the post, g₁ first."""
    # With one step, sum and average are g₁ too.
    yield Combination("last", 1)
    for num_steps in range(2, MAX_STEPS + 1):
        for kind in _STYLES:
            yield Combination(kind, num_steps)


def base_settings(learning_rate: float, **fields) -> ClassifierSettings:
    """What all runs have in common: SGD, ε from 0.25 down to 0, and what `fields` say."""
    inner = InnerLoop(optimizer="sgd", learning_rate=learning_rate)
    return ClassifierSettings(
        inner=inner, meta_learning_rate=0.25, anneal_meta_learning_rate=True, **fields
    )


def curve(folder: RunFolder) -> tuple[list[int], list[float], list[float]]:
    """Meta-steps, accuracies on held-out tasks in per cent, and half their 95 % intervals."""
    lines = map(json.loads, (folder.path / "metrics.jsonl").read_text().splitlines())
    held_out = [line for line in lines if "held_out_accuracy" in line]
    steps, accuracies, margins = (
        [line[name] for line in held_out]
        for name in (
            "meta_step",
            "held_out_accuracy",
            "held_out_accuracy_margin",
        )
    )
    return steps, accuracies, margins


def draw(folder_of: Callable[[Combination], RunFolder], title: str, out: pathlib.Path) -> None:
    """Writes the plot: accuracy against meta-steps, a line for each combination.

    The first alone is far below the others, so they stand in a panel of their own as well.
    """
    everything = list(combinations())
    figure = Figure(figsize=(13, 5), layout="constrained")
    for axes, shown in zip(figure.subplots(1, 2), (everything, everything[1:]), strict=True):
        for combination in shown:
            steps, accuracies, margins = curve(folder_of(combination))
            # Side by side within half of the distance between points, where no interval hides
            # another.
            place = everything.index(combination) / (len(everything) - 1) - 0.5
            axes.errorbar(
                [step + 0.5 * steps[0] * place for step in steps],
                accuracies,
                margins,
                label=combination.label,
                linestyle=_STYLES[combination.kind],
                color=f"C{combination.num_steps - 1}",
                elinewidth=0.6,
            )
        axes.set(xlabel="meta-steps", ylabel="accuracy on held-out tasks, per cent")
    figure.suptitle(title)
    lines, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside right center")
    figure.savefig(out, dpi=100)
