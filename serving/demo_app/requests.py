"""A visitor's request, checked: JSON in, arrays out, or a refusal with a sentence."""

import base64
import io
import json
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from figr_common import framing, images, paper
from serving.demo_app.description import MAX_SEED, ClassifierDescription, Description, Form
from serving.demo_app.limits import VisitorLimits
from serving.pages.refusal import Refusal

_FIELDS = ("images", "num_samples", "num_inner_steps", "seed")
_CLASSIFY_FIELDS = ("shapes", "drawing")


class Generate(NamedTuple):
    """What a visitor asks to be drawn.

    Attributes:
        support_images: uint8 [n, S, S, C].
        num_samples: m.
        num_inner_steps: K; None where there is no inner loop.
        seed: 0 ≤ seed < 2**53.
    """

    support_images: np.ndarray
    num_samples: int
    num_inner_steps: int | None
    seed: int


class Classify(NamedTuple):
    """support_images: uint8 [classes, S, S, C], one of each. query_image: uint8 [S, S, C]."""

    support_images: np.ndarray
    query_image: np.ndarray


def parse(body: bytes, model: Description, limits: VisitorLimits) -> Generate:
    """Reads {"images": [base64 of an image file, …], "num_samples": …, "num_inner_steps": …,
    "seed": …}.

    All but the images may be left out.

    Raises:
        Refusal: 400 for what cannot be used, 413 for an image of too many bytes.
    """
    fields = _fields(body, _FIELDS)
    steps = _number(fields, "num_inner_steps", model.num_inner_steps, 0, model.max_steps)
    return Generate(
        _support(fields.get("images"), model, limits),
        _number(fields, "num_samples", model.num_samples, 1, model.max_samples),
        # Left out where there is no inner loop: such a model refuses the input.
        steps if model.max_steps else None,
        _number(fields, "seed", 0, 0, MAX_SEED),
    )


def parse_classify(body: bytes, model: ClassifierDescription, limits: VisitorLimits) -> Classify:
    """Reads {"shapes": [base64 of an image file, …], "drawing": base64 of one}.

    Raises:
        Refusal: see `parse`.
    """
    fields = _fields(body, _CLASSIFY_FIELDS)
    shapes = fields.get("shapes")
    if not isinstance(shapes, list) or not 2 <= len(shapes) <= model.max_classes:
        count = len(shapes) if isinstance(shapes, list) else "none"
        raise Refusal(400, f"Send 2 to {model.max_classes} shapes. Received: {count}.")
    support = [_image(f"Shape {i}", file, model, limits) for i, file in enumerate(shapes, 1)]
    return Classify(np.stack(support), _image("The drawing", fields.get("drawing"), model, limits))


def _fields(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "The request is not JSON.") from error
    if not isinstance(fields, dict) or not set(fields) <= set(names):
        raise Refusal(
            400,
            f"The request must be a JSON object with no other fields than {', '.join(names)}.",
        )
    return fields


def _number(fields: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = fields.get(name, default)
    # JSON's true is a bool, which Python also takes for an int.
    if type(value) is not int or not low <= value <= high:
        raise Refusal(
            400, f"{name} must be a whole number from {low} to {high}. Received: {str(value)[:40]}."
        )
    return value


def _support(files: Any, model: Description, limits: VisitorLimits) -> np.ndarray:
    if not isinstance(files, list) or not 1 <= len(files) <= model.max_images:
        count = len(files) if isinstance(files, list) else "none"
        raise Refusal(400, f"Send 1 to {model.max_images} drawings. Received: {count}.")
    numbered = enumerate(files, 1)
    return np.stack([_image(f"Drawing {number}", file, model, limits) for number, file in numbered])


def _image(name: str, file: Any, model: Form, limits: VisitorLimits) -> np.ndarray:
    if not isinstance(file, str):
        raise Refusal(400, f"{name} must be the base64 of an image file.")
    # Before it is decoded: base64 has four characters for three bytes, and some padding.
    if len(file) > limits.max_image_bytes * 4 / 3 + 4:
        raise Refusal(413, f"{name} is larger than {limits.max_image_bytes // 1024} KiB.")
    try:
        data = base64.b64decode(file, validate=True)
    # Of base64 (binascii.Error), or of characters beyond ASCII.
    except ValueError as error:
        raise Refusal(400, f"{name} must be the base64 of an image file.") from error
    try:
        # Pillow decodes a file of a kilobyte to gigabytes, if its header says so.
        _check_side(name, data, limits.max_image_side)
        array = images.decode_drawing(data, model.size, model.channels)
    except images.ImageError as error:
        raise Refusal(400, f"{name} cannot be read: {error}.") from error
    if not paper.has_ink(array):
        raise Refusal(400, f"{name} is empty. Draw something, or leave it out.")
    return array


def drawing(data: bytes, model: Form, limits: VisitorLimits) -> np.ndarray:
    """An image file → uint8 [S, S, C] like the training drawings. Raises Refusal (400, 413).

    A picture in colour stays where it is on its paper, since which colours are ink nobody knows.
    """
    _check_side("It", data, limits.max_image_side)
    hand = model.hand
    sizes = framing.Framing(hand.extent, hand.smallest_extent, hand.largest_extent)
    try:
        if model.channels != 1:
            coloured = images.decode_image(data, model.size, model.channels)
            if not paper.has_ink(coloured):
                raise images.ImageError("it shows no drawing, being nearly all of one shade")
            return coloured
        return framing.framed_drawing(data, model.size, sizes)[..., None]
    except images.ImageError as error:
        raise Refusal(400, f"{str(error)[:1].upper()}{str(error)[1:]}.") from error


def _check_side(what: str, data: bytes, longest: int) -> None:
    """Refuses a huge image before a pixel of it is decoded: a small file can hold one.

    What is no image is left to the decoder.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            side = max(image.size)
    except Exception:  # Pillow raises almost anything on damaged bytes
        return
    if side > longest:
        raise Refusal(413, f"{what} is {side} pixels long. At most {longest} are taken.")
