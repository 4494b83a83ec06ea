"""How the time of adaptation grows with support size, steps, image size and channels.

  python -m benchmarks.growth --out=growth.png

One setting is varied at a time from h = 4, n = 4, K = 10, 32². Each is timed in turns with that
one, so that the ratio to it holds on a busy machine. Prints a table with the exponent of growth
between neighbours: 1 is linear.
"""

import dataclasses
import math
import statistics
from typing import Any

from PIL import Image, ImageDraw

from benchmarks.contestants import Ours
from benchmarks.worker import Work
from figr_tf.core import console

flags = console.OwnFlags(__name__)

_OUT = flags.DEFINE_path("out", None, "Plots the table into this PNG.")
_RUNS = flags.DEFINE_integer("runs", 5, "Timed runs of each setting.", lower_bound=1)

_START = Work("adapt", hidden=4)
# The start's own value is in every list. How far its ratio is from 1 shows how far to trust the
# others.
_VARIED: dict[str, tuple[int, ...]] = {
    "num_shots": (1, 2, 4, 8, 16, 32),
    "num_inner_steps": (1, 5, 10, 50, 100),
    "image_size": (16, 32, 64, 128),
    "hidden": (4, 8, 16, 32, 64),
}
_COLOURS = ("#1b6ca8", "#c0392b", "#1e8449", "#8e44ad")
_WIDTH, _HEIGHT, _MARGIN = 640, 480, 60


def _ratio(start: Ours, setting: str, value: int) -> float:
    """Seconds with this value over seconds at the start, medians of runs in turns."""
    changed: dict[str, Any] = {setting: value}
    varied = Ours(dataclasses.replace(_START, **changed))
    # Pairs of neighbours in time: what slows the machine down slows both.
    # Times from before were taken beside another setting, and perhaps on a busier machine.
    start.seconds.clear()
    for _ in range(_RUNS.value):
        start.run()
        varied.run()
    varied.close()
    # Of ratios, so that a slow spell spoils the pairs within it and no others.
    return statistics.median(b / a for a, b in zip(start.seconds, varied.seconds, strict=True))


def _table(start: Ours, setting: str) -> list[tuple[int, float]]:
    points: list[tuple[int, float]] = []
    for value in _VARIED[setting]:
        ratio = _ratio(start, setting, value)
        exponent = ""
        if points:
            before, least = points[-1]
            exponent = f"{math.log(ratio / least) / math.log(value / before):.2f}"
        points.append((value, ratio))
        print(f"| {setting} | {value} | {ratio:.2f} | {exponent} |", flush=True)
    return points


def _plot(curves: dict[str, list[tuple[int, float]]]) -> Image.Image:
    """The table as curves; the grey line is linear growth.

    Both axes are logarithmic, from 1 to 128 and from 1/16 to 256 times the start.
    """

    def place(value: float, ratio: float) -> tuple[float, float]:
        # 128 is 2⁷, and from 1/16 to 256 there are 12 doublings.
        x = _MARGIN + math.log2(value) / 7 * (_WIDTH - 2 * _MARGIN)
        return x, _HEIGHT - _MARGIN - (math.log2(ratio) + 4) / 12 * (_HEIGHT - 2 * _MARGIN)

    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    for power in range(-4, 9, 2):
        y = place(1, 2.0**power)[1]
        draw.line([(_MARGIN, y), (_WIDTH - _MARGIN, y)], "#dddddd")
        draw.text((8, y - 6), f"{2.0**power:g}", "black")
    for power in range(8):
        draw.text((place(2**power, 1)[0] - 6, _HEIGHT - _MARGIN + 8), str(2**power), "black")
    draw.line([place(1, 0.25), place(128, 32)], "#bbbbbb", 1)
    for (setting, points), colour in zip(curves.items(), _COLOURS, strict=True):
        line = [place(*point) for point in points]
        draw.line(line, colour, 2)
        for x, y in line:
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], colour)
        draw.text((_MARGIN + 10, 10 + 14 * list(curves).index(setting)), setting, colour)
    return picture


def main() -> None:
    """Times every setting, prints the table and plots it."""
    if _OUT.value:
        console.check_output(_OUT.value)
    print("| varied | value | time / time at the start | exponent |\n|---|---|---|---|", flush=True)
    start = Ours(_START)
    curves = {setting: _table(start, setting) for setting in _VARIED}
    start.close()
    if _OUT.value:
        _plot(curves).save(_OUT.value)


if __name__ == "__main__":
    console.run(main)
