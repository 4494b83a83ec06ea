"""How a deck's drawings are shown: real and generated ones alike, for their strokes alone.

A real drawing was scaled down, an affine copy was interpolated, a network's sample has greys of
its own. Shown as they are, the greys would say which is which. So only outlines are shown.
"""

import io

import numpy as np
from PIL import Image

SCALE = 4  # Pixels shown on the side of each pixel of a drawing.
_FINE = 2  # Of these there are so many on the side of each pixel shown: its shades at an edge.


def outlined(drawing: np.ndarray) -> np.ndarray:
    """A drawing as people see it: ink with sharp outlines, antialiased.

    The ink fills as much of the area as its greys add up to, wherever the interpolated drawing is
    darkest: blur makes strokes neither wider nor thinner.

    Args:
        drawing: uint8 [S, S], dark ink. The paper is what half of the pixels are lighter than.

    Returns:
        uint8 [SCALE·S, SCALE·S], ink 0, paper 255; without ink, white.
    """
    paper = float(np.median(drawing))
    ink = np.maximum(paper - drawing.astype(np.float32), 0.0) / max(paper, 1.0)
    side = SCALE * _FINE * len(drawing)
    fine = Image.fromarray(ink).resize((side, side), Image.Resampling.BICUBIC)
    darkness = np.asarray(fine).ravel()
    filled = np.zeros(side * side, np.float32)
    count = round(float(ink.sum()) * (SCALE * _FINE) ** 2)
    filled[np.argpartition(-darkness, count)[:count]] = 1.0
    shown = filled.reshape(side // _FINE, _FINE, side // _FINE, _FINE).mean((1, 3))
    return np.rint(255.0 * (1.0 - shown)).astype(np.uint8)


def png(drawing: np.ndarray) -> bytes:
    """`outlined` as a PNG file without compression: its length says nothing of what it shows."""
    file = io.BytesIO()
    Image.fromarray(outlined(drawing)).save(file, "PNG", compress_level=0)
    return file.getvalue()
