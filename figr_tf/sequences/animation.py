"""Held-out images as they are read: the pixels, what was expected of them, and what they cost."""

from collections import abc
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from figr_tf.sequences import data
from figr_tf.sequences.data import Sequences
from figr_tf.sequences.model import SequenceModel

_SHOWN, _FRAMES = 4, 40
_SIDE = 112  # Pixels of an image's side, about.
_GAP, _LABEL, _PLOT, _FONT_SIZE = 8, 18, 120, 12
_NOT_YET = (200, 214, 232)  # Neither ink nor paper.
_LINES = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189))
_AXIS = (150, 150, 150)
_MILLISECONDS, _LAST_MILLISECONDS = 120, 2_500


class _Reading(NamedTuple):
    """What one network made of the images.

    Attributes:
        label: for people.
        ink: [T, N], the probability of ink at each pixel before it was seen.
        so_far: [N], nats per pixel up to and with each pixel, mean over the images.
        line: its colour.
    """

    label: str
    ink: np.ndarray
    so_far: np.ndarray
    line: tuple[int, int, int]


def save(path: str, models: abc.Sequence[SequenceModel], sequences: Sequences) -> None:
    """Writes a GIF of four held-out images as each network reads them."""
    shown = data.spread(sequences.held_out, _SHOWN)
    readings = [_read(model, shown, i) for i, model in enumerate(models)]
    length = shown.shape[1]
    steps = np.unique(np.linspace(1, length, _FRAMES, dtype=int))
    first, *rest = [_frame(shown, readings, seen) for seen in steps.tolist()]
    times = [_MILLISECONDS] * len(rest) + [_LAST_MILLISECONDS]
    first.save(path, save_all=True, append_images=rest, duration=times, loop=0, optimize=True)


def _read(model: SequenceModel, shown: np.ndarray, number: int) -> _Reading:
    nats = model.read(shown).nats.numpy().astype(np.float64)
    # Of two classes the one that stands there had exp(−nats), the other the rest.
    chance = np.exp(-nats)
    so_far = np.cumsum(nats.mean(0)) / np.arange(1, nats.shape[1] + 1)
    ink = np.where(shown, chance, 1 - chance)
    return _Reading(model.label, ink, so_far, _LINES[number % len(_LINES)])


def _frame(shown: np.ndarray, readings: abc.Sequence[_Reading], seen: int) -> Image.Image:
    """After so many pixels of each image."""
    rows = [("read so far", shown, (0, 0, 0))]
    rows += [(f"chance of ink: {r.label}", r.ink, r.line) for r in readings]
    parts = [_row(darkness, seen) for _, darkness, _ in rows]
    width, height = parts[0].width + 2 * _GAP, parts[0].height + _LABEL
    size = width, len(rows) * height + _LABEL + _PLOT + _GAP
    frame = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(_FONT_SIZE)
    for i, ((label, _, colour), part) in enumerate(zip(rows, parts, strict=True)):
        draw.text((_GAP, i * height + 2), label, colour, font)
        frame.paste(part, (_GAP, i * height + _LABEL))
    _plot(draw, readings, seen, (_GAP, len(rows) * height, width - _GAP, size[1] - _GAP))
    return frame


def _row(darkness: np.ndarray, seen: int) -> Image.Image:
    """Images [T, N] in [0, 1] beside each other, 1 black, as far as they were seen."""
    count, length = darkness.shape
    colours = np.repeat(np.rint(255 * (1 - darkness)).astype(np.uint8)[..., None], 3, 2)
    colours[:, seen:] = _NOT_YET
    size = round(length**0.5)
    scale = max(1, _SIDE // size)
    images = colours.reshape(count, size, size, 3).repeat(scale, 1).repeat(scale, 2)
    row = np.pad(images, ((0, 0), (0, 0), (0, _GAP), (0, 0)), constant_values=255)
    return Image.fromarray(np.concatenate(list(row), 1)[:, :-_GAP])


def _plot(
    draw: ImageDraw.ImageDraw,
    readings: abc.Sequence[_Reading],
    seen: int,
    box: tuple[int, int, int, int],
) -> None:
    """A line for each network, up to what was seen; `box` is left, top, right, bottom."""
    left, top, right, bottom = box
    font = ImageFont.load_default(_FONT_SIZE)
    now = ", ".join(f"{reading.so_far[seen - 1]:.3f}" for reading in readings)
    draw.text((left, top + 2), f"nats per pixel so far: {now}", "black", font)
    top += _LABEL
    draw.line([(left, top), (left, bottom), (right, bottom)], _AXIS)
    highest = max(float(reading.so_far.max()) for reading in readings)
    draw.text((left + 4, top), f"{highest:.2f}", _AXIS, font)
    length = len(readings[0].so_far)
    for reading in readings:
        across = left + np.arange(1, seen + 1) / length * (right - left)
        up = bottom - reading.so_far[:seen] / highest * (bottom - top)
        points = list(zip(across.tolist(), up.tolist(), strict=True))
        draw.line([*points, points[-1]], reading.line, 2)
