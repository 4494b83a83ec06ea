"""Renders the drawings of `iconify` and packs them in FIGR-8's layout, Data/CLASS/SET-NAME.png."""

import hashlib
import io
import os
import pathlib
import zipfile
from typing import NamedTuple

import numpy as np
import resvg_py
from absl import logging
from PIL import Image, ImageOps

from figr_tf.core import progress
from figr_tf.core.errors import DataError, listing
from figr_tf.data import iconify
from figr_tf.data.iconify import Drawing

_STYLES_A_SET = 2
_SEEN_SIZE = 16  # Pixels of a side, at which drawings are compared.
_SAME = 0.04  # Root mean square of grey in [0, 1], below which two drawings are the same one.
_DATE = (2020, 1, 1, 0, 0, 0)  # Of every file: the same package gives the same zip.


class Form(NamedTuple):
    """image_size: S, pixels. colour: the coloured sets. min_drawings: of a class, at the least."""

    image_size: int = 64
    colour: bool = False
    min_drawings: int = 8


class Made(NamedTuple):
    """What is in the zip, and its sha256."""

    num_drawings: int
    num_classes: int
    num_sets: int
    sha256: str


class _Rendered(NamedTuple):
    """A drawing; `seen` is float32 [16·16·C], what it is compared by."""

    drawing: Drawing
    image: Image.Image
    seen: np.ndarray


def make(source: pathlib.Path, out: pathlib.Path, form: Form) -> Made:
    """Writes the zip, under another name until it is whole.

    Raises:
        DataError: the source is not the package, or holds no class that is large enough.
    """
    package = iconify.Package(source)
    chosen = package.choose(form.colour)
    for sentence in chosen.left_out:
        logging.warning("left out %s", sentence)
    sets = progress.track(list(chosen.sets), "reading", "sets")
    classes = list(iconify.by_class(package, sets, form.min_drawings))
    scratch = out.with_name(f".{out.name}.new")  # What a killed run leaves, the next one replaces.
    try:
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED) as archive:  # PNGs are deflated.
            made = _write(archive, classes, form, chosen.sets, package.version())
        if not made.num_classes:
            raise DataError(
                f"{source}: no class has {form.min_drawings} drawings that differ."
                " Lower --min_drawings."
            )
        digest = _sha256(scratch)
        os.replace(scratch, out)
    finally:
        scratch.unlink(missing_ok=True)
    return made._replace(sha256=digest)


def _write(
    archive: zipfile.ZipFile,
    classes: list[tuple[str, list[list[Drawing]]]],
    form: Form,
    sets: dict[str, iconify.IconSet],
    version: str,
) -> Made:
    broken: list[str] = []
    used: set[str] = set()
    written: set[str] = set()
    counts: list[int] = []
    for name, per_set in progress.track(classes, "drawing", "classes"):
        drawings = _differing([r for one in per_set for r in _styles(one, form, broken)])
        if len(drawings) < form.min_drawings:
            continue
        counts.append(len(drawings))
        for drawing, image, _ in drawings:
            used.add(drawing.icon_set)
            path = f"Data/{name}/{drawing.icon_set}-{drawing.name}.png"
            if path in written:  # The sets a and a-b may have icons b-c and c.
                path = f"Data/{name}/{drawing.icon_set}--{drawing.name}.png"
            written.add(path)
            archive.writestr(zipfile.ZipInfo(path, _DATE), _png(image))
    if broken:
        logging.warning("left out %d drawings that do not render: %s", len(broken), listing(broken))
    sources = [f"Rendered from the npm package @iconify/json {version} by figr_tf.icons."]
    sources += [sets[prefix].attribution() for prefix in sorted(used)]
    # Any text of the package's, whatever its characters.
    text = ("\n".join(sources) + "\n").encode("utf-8", "replace")
    archive.writestr(zipfile.ZipInfo("SOURCES.txt", _DATE), text)
    return Made(sum(counts), len(counts), len(used), "")


def _styles(drawings: list[Drawing], form: Form, broken: list[str]) -> list[_Rendered]:
    """Of one set and class the first drawing, and the one that differs from it most."""
    rendered = []
    for drawing in drawings:
        try:
            rendered.append(_render(drawing, form))
        except ValueError as error:
            broken.append(f"{drawing.icon_set}:{drawing.name} ({error})")
    rendered = [one for one in rendered if one.seen.std() > 0]  # A blank picture shows nothing.
    if len(rendered) <= _STYLES_A_SET:
        return rendered
    first, *others = rendered
    return [first, max(others, key=lambda one: _difference(first, one))]


def _render(drawing: Drawing, form: Form) -> _Rendered:
    """On white paper, all of it inside the square. Raises ValueError if it does not render."""
    # Without the system's fonts: the same picture on every machine.
    data = resvg_py.svg_to_bytes(
        svg_string=drawing.svg,
        background="white",
        skip_system_fonts=True,
        width=form.image_size,
        height=form.image_size,
    )
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB" if form.colour else "L")
    if image.width != image.height:  # Drawings keep their shape.
        white = (255, 255, 255) if form.colour else 255
        image = ImageOps.pad(image, (form.image_size, form.image_size), color=white)
    small = image.resize((_SEEN_SIZE, _SEEN_SIZE), Image.Resampling.BOX)
    return _Rendered(drawing, image, np.asarray(small, np.float32).ravel() / 255.0)


def _difference(one: _Rendered, other: _Rendered) -> float:
    return float(np.sqrt(np.mean((one.seen - other.seen) ** 2)))


def _differing(drawings: list[_Rendered]) -> list[_Rendered]:
    """Without those that are nearly the same as an earlier one."""
    kept: list[_Rendered] = []
    for drawing in drawings:
        if all(_difference(drawing, earlier) > _SAME for earlier in kept):
            kept.append(drawing)
    return kept


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
