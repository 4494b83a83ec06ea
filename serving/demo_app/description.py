"""What the page has to know of a model.

It comes from the model's contract file where that is at hand, else from its signatures.
"""

import dataclasses
import json
import pathlib
from typing import Any, NamedTuple, Protocol

from serving.demo_app.limits import VisitorLimits

MAX_SEED = 2**53 - 1  # as in exporters.limits; JavaScript keeps such an integer whole
_PAGE_SAMPLES = 64


class Hand(NamedTuple):
    """How a data set's drawings fill their square; fractions of its side.

    Attributes:
        extent: the ink's longer side. smallest_extent, largest_extent: its 5th and 95th percentile.
        pen: width of the strokes.
    """

    extent: float
    smallest_extent: float
    largest_extent: float
    pen: float


# Measured; see docs/measurements.md, "The page".
_HANDS = {
    "omniglot": Hand(0.66, 0.42, 0.84, 0.042),
    "glyphs": Hand(0.84, 0.41, 0.97, 0.065),
    "mnist": Hand(0.73, 0.69, 0.75, 0.095),
}
DATASETS = tuple(_HANDS)


class Form(Protocol):
    """What a drawing has to be turned into for a model; see `Description`."""

    @property
    def size(self) -> int:
        """S of its images."""

    @property
    def channels(self) -> int:
        """C of its images."""

    @property
    def hand(self) -> Hand:
        """How its training drawings look."""


@dataclasses.dataclass(frozen=True)
class ClassifierDescription:
    """A classifier as the page and the gateway see it.

    Attributes:
        about, version, size, channels, hand: see `Description`.
        max_classes: shapes that one drawing can be compared with, at most.
    """

    about: str
    version: int
    size: int
    channels: int
    hand: Hand
    max_classes: int

    def as_json(self) -> dict[str, Any]:
        """What the page gets."""
        return dataclasses.asdict(self) | {"hand": self.hand._asdict()}


@dataclasses.dataclass(frozen=True)
class Description:
    """A model as the page and the gateway see it.

    Attributes:
        about: one line for the visitor. version: the model's number on its server.
        size, channels: of its images. hand: how its training drawings look.
        max_images, max_samples, max_steps: of one request; no inner loop where max_steps is 0.
        num_samples, num_inner_steps: to begin with.
    """

    about: str
    version: int
    size: int
    channels: int
    hand: Hand
    max_images: int
    max_samples: int
    max_steps: int
    num_samples: int
    num_inner_steps: int

    def as_json(self) -> dict[str, Any]:
        """What the page gets."""
        return dataclasses.asdict(self) | {"hand": self.hand._asdict(), "max_seed": MAX_SEED}


def read_contract(base_path: pathlib.Path, version: int) -> dict[str, Any]:
    """The contract of an exported version; empty if there is none, or one that cannot be read."""
    try:
        contract = json.loads(
            (base_path / str(version) / "assets.extra" / "contract.json").read_text()
        )
    except (OSError, ValueError):
        return {}
    return contract if isinstance(contract, dict) else {}


def describe(
    contract: dict[str, Any],
    version: int,
    image_shape: tuple[int, int, int],
    defaults: dict[str, int],
    limits: VisitorLimits,
    dataset: str | None = None,
) -> Description:
    """Puts a description together.

    Args:
        contract: of the export, or empty. defaults: of the `generate` signature's inputs.
        dataset: whose drawings the strokes shall look like; the contract's unless given, Omniglot's
            if it has none.
    """
    # A model that does not know this input has no inner loop; one with 0 for a default shows none.
    num_inner_steps = defaults.get("num_inner_steps", 0)
    max_steps = min(limits.max_steps, _maximum(contract, "num_inner_steps", limits.max_steps))
    max_samples = min(limits.max_samples, _maximum(contract, "num_samples", limits.max_samples))
    dataset = dataset or contract.get("training", {}).get("dataset", "")
    return Description(
        about=_about(contract, version),
        version=version,
        size=image_shape[0],
        channels=image_shape[2],
        hand=_HANDS.get(dataset, _HANDS["omniglot"]),
        max_images=min(limits.max_images, _maximum(contract, "num_shots", limits.max_images)),
        max_samples=max_samples,
        max_steps=max_steps if num_inner_steps else 0,
        num_samples=min(_PAGE_SAMPLES, max_samples),
        num_inner_steps=min(num_inner_steps, max_steps),
    )


def describe_classifier(
    contract: dict[str, Any],
    version: int,
    image_shape: tuple[int, int, int],
    limits: VisitorLimits,
    dataset: str | None = None,
) -> ClassifierDescription:
    """Puts a classifier's description together; see `describe`."""
    dataset = dataset or contract.get("training", {}).get("dataset", "")
    return ClassifierDescription(
        about=_about(contract, version),
        version=version,
        size=image_shape[0],
        channels=image_shape[2],
        hand=_HANDS.get(dataset, _HANDS["omniglot"]),
        # One of a visitor's images is the drawing that is recognised.
        max_classes=min(
            limits.max_images - 1, _maximum(contract, "num_classes", limits.max_images - 1)
        ),
    )


def _maximum(contract: dict[str, Any], name: str, otherwise: int) -> int:
    # A model at --target: nothing says its limits, and its server refuses what is too much.
    if not contract:
        return otherwise
    # A contract that does not know inner steps is of a model without an inner loop.
    unnamed = 0 if name == "num_inner_steps" else otherwise
    return contract.get("limits", {}).get(name, {}).get("maximum", unnamed)


def _about(contract: dict[str, Any], version: int) -> str:
    training, model = contract.get("training", {}), contract.get("model", {})
    parts = [f"trained on {training['dataset']}"] if "dataset" in training else []
    if classes := training.get("num_training_classes"):
        parts.append(f"{classes:,} classes")
    counts = ("num_generator_parameters", "num_discriminator_parameters", "num_parameters")
    if weights := sum(model.get(name, 0) for name in counts):
        parts.append(
            f"{weights / 1e6:.1f} million weights" if weights > 1e6 else f"{weights:,} weights"
        )
    return ", ".join([*parts, f"version {version}"])
