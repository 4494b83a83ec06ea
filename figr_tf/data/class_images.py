"""Image files → all images of a data set, class by class: decoded in parallel, and cached.

FIGR-8 has 1.5 million files, so images go to disk as they are decoded and come back memory-mapped.
No more than one batch of files is held at a time.
"""

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tqdm
from absl import logging

from figr_common.images import ImageError, decode_drawing
from figr_tf.core.errors import DataError
from figr_tf.data.image_trees import ImageFile

_CACHE_FORMAT = 2  # Part of every cache's key: another layout, and old caches are not found.
_BATCH = 2048
_SKIPPED_SHOWN = 5
_NAME_LENGTH = 32  # Characters of a cache's digest that name its folder.
_DAY = 86_400  # Seconds.
_KEPT_UNUSED = 60 * _DAY


class ImageFormat(NamedTuple):
    """What every image is brought to, see `images.decode_drawing`."""

    image_size: int
    channels: int
    ink: str


class ClassImages(NamedTuple):
    """All images of a data set, those of one class next to each other.

    Attributes:
        images: uint8 [N, S, S, C], dark ink on light paper; may be memory-mapped.
        counts: class name → number of images, in the order of `images`.
    """

    images: np.ndarray
    counts: dict[str, int]

    def starts(self) -> dict[str, int]:
        """Class name → index of its first image."""
        # One more sum than classes: the last is the number of all images.
        sums = itertools.accumulate(self.counts.values(), initial=0)
        return dict(zip(self.counts, sums, strict=False))

    def digest(self) -> str:
        """sha256 of class names, counts and every pixel."""
        digest = hashlib.sha256(json.dumps(self.counts).encode())
        for start in range(0, len(self.images), _BATCH):
            digest.update(self.images[start : start + _BATCH].tobytes())
        return digest.hexdigest()


def load_images(
    list_files: Callable[[], Iterable[ImageFile]],
    image_format: ImageFormat,
    cache_dir: pathlib.Path,
) -> ClassImages:
    """Decodes the files, or takes them from the cache when nothing has changed.

    Classes come in their order of appearance.

    Files that cannot be used are skipped and named in a warning.

    Args:
        list_files: lists the files class by class; called once for the cache key and again to
            decode, since the list of FIGR-8 would fill half a gigabyte.

    Raises:
        DataError: no usable image, or the cache cannot be written.
    """
    num_files = 0
    digest = hashlib.sha256(repr((_CACHE_FORMAT, tuple(image_format))).encode())
    for file in list_files():
        # Class, name and stamp; the fourth is the way to the bytes.
        digest.update(repr(file[:3]).encode())
        num_files += 1
    target = cache_dir / digest.hexdigest()[:_NAME_LENGTH]
    try:
        _sweep(cache_dir)
        cached = _read_cache(target, image_format)
        if cached is None:
            _decode_to(target, list_files(), num_files, image_format)
            cached = _read_cache(target, image_format)
        if cached is None:
            raise OSError("damaged as soon as it was written")
    except OSError as error:
        raise DataError(
            f"image cache {target}: {error.strerror or error}. Choose another --cache_dir."
        ) from error
    _warn_of_skipped(cached, target)
    if not cached.images.counts:
        skipped = ": every file was left out" if cached.skipped else ""
        raise DataError(f"no usable image found{skipped}.")
    return cached.images


def _sweep(cache_dir: pathlib.Path) -> None:
    """Removes what killed processes left half decoded, and what nobody has used for long.

    A process that has such images mapped keeps them.
    """
    for pattern, last_used, seconds in (
        # Of half a cache the folder tells its age; of a whole one index.json, which each use
        # touches.
        ("unfinished-*", ".", _DAY),
        ("[0-9a-f]" * _NAME_LENGTH, "index.json", _KEPT_UNUSED),
    ):
        for folder in cache_dir.glob(pattern):
            with contextlib.suppress(OSError):  # Another process may be faster, or own it.
                if time.time() - (folder / last_used).stat().st_mtime > seconds:
                    shutil.rmtree(folder, ignore_errors=True)


def _decode_to(
    target: pathlib.Path, files: Iterable[ImageFile], num_files: int, image_format: ImageFormat
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Decoded under another name and renamed last: an interrupted or a second process never leaves
    # half a cache.
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="unfinished-", dir=target.parent))
    try:
        counts: dict[str, int] = {}
        skipped: list[str] = []
        with open(scratch / "images.u8", "wb") as output:
            for file, image in _decoded(files, num_files, image_format):
                if isinstance(image, ImageError):
                    skipped.append(f"{file.name}: {image}")
                else:
                    output.write(image.tobytes())
                    counts[file.class_name] = counts.get(file.class_name, 0) + 1
        (scratch / "index.json").write_text(json.dumps({"counts": counts, "skipped": skipped}))
        try:
            scratch.rename(target)
        except OSError:
            if _read_cache(target, image_format):  # Another process was faster: that is the same.
                return
            shutil.rmtree(target)
            scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _decoded(
    files: Iterable[ImageFile], num_files: int, image_format: ImageFormat
) -> Iterator[tuple[ImageFile, np.ndarray | ImageError]]:
    def decode(file: ImageFile) -> np.ndarray | ImageError:
        try:
            return decode_drawing(file.read(), *image_format)
        except ImageError as error:
            return error

    remaining = iter(files)
    # Threads suffice: Pillow lets go of the interpreter while it decodes and resizes.
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        tqdm.tqdm(
            total=num_files, desc="decoding images", unit=" images", disable=None, leave=False
        ) as bar,
    ):
        while batch := list(itertools.islice(remaining, _BATCH)):
            yield from zip(batch, pool.map(decode, batch), strict=True)
            bar.update(len(batch))


class _Cached(NamedTuple):
    """What a cache holds: the images, and a line for each file that was left out."""

    images: ClassImages
    skipped: list[str]


def _read_cache(target: pathlib.Path, image_format: ImageFormat) -> _Cached | None:
    """None where there is no whole cache. Raises OSError if it cannot be read."""
    try:
        index = json.loads((target / "index.json").read_text())
        counts, skipped = index["counts"], index["skipped"]
        size, channels, _ = image_format
        shape = (sum(counts.values()), size, size, channels)
        file = target / "images.u8"
        # A file of no bytes cannot be mapped.
        pixels = (
            np.memmap(file, np.uint8, "r", shape=shape) if counts else np.zeros(shape, np.uint8)
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None
    with contextlib.suppress(OSError):  # A cache that is somebody else's is theirs to keep.
        # So `_sweep` sees that it is used.
        os.utime(target / "index.json")
    return _Cached(ClassImages(pixels, counts), skipped)


def _warn_of_skipped(cached: _Cached, target: pathlib.Path) -> None:
    skipped, used = cached.skipped, len(cached.images.images)
    if not skipped:
        return
    more = len(skipped) - _SKIPPED_SHOWN
    rest = f"\n  {more} more, listed in {target / 'index.json'}" if more > 0 else ""
    listing = "\n  ".join(skipped[:_SKIPPED_SHOWN])
    logging.warning(
        "%d of %d images used; left out:\n  %s%s", used, used + len(skipped), listing, rest
    )
