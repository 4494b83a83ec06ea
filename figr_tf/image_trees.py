"""Folders and zip files whose leaf folders are classes → class-indexed images, decoded in parallel and cached.

FIGR-8 has 1.5 million files, so images go to disk as they are decoded and come back memory-mapped; no more than one
batch of files is held at a time.
"""

import concurrent.futures
import functools
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, NoReturn

import numpy as np
import tqdm
from absl import logging

from figr_images.images import MAX_FILE_BYTES, SUFFIXES, ImageError, decode_image
from figr_tf.errors import DataError

_CACHE_FORMAT = 1
_BATCH = 2048
_SKIPPED_SHOWN = 5


class ImageFile(NamedTuple):
    """One image of a class: `read` returns its bytes; `stamp` changes when they may have changed."""

    class_name: str
    name: str
    stamp: tuple
    read: Callable[[], bytes]


class ImageFormat(NamedTuple):
    """What every image is brought to, see `images.decode_image`."""

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
        return dict(zip(self.counts, itertools.accumulate(self.counts.values(), initial=0), strict=False))

    def digest(self) -> str:
        """sha256 of class names, counts and every pixel."""
        digest = hashlib.sha256(json.dumps(self.counts).encode())
        for start in range(0, len(self.images), _BATCH):
            digest.update(self.images[start : start + _BATCH].tobytes())
        return digest.hexdigest()


def files_in_folder(root: pathlib.Path) -> Iterator[ImageFile]:
    """The images below `root`, class by class; the class is the folder's path relative to it."""
    for folder, subfolders, names in os.walk(root, onerror=_unreadable):
        subfolders.sort()
        class_name = pathlib.PurePath(os.path.relpath(folder, root)).as_posix()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = os.path.join(folder, name)
                try:
                    stat = os.stat(path)
                except OSError as error:  # a link to nothing, say
                    _unreadable(error)
                yield ImageFile(class_name, path, (stat.st_size, stat.st_mtime_ns), functools.partial(_read, path))


def _unreadable(error: OSError) -> NoReturn:
    """Ends the loading: what cannot be read today may be readable tomorrow, and the cache would not notice."""
    raise DataError(f"{error.filename}: {error.strerror}. Make it readable, or remove it.") from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        _unreadable(error)


def files_in_zip(path: pathlib.Path, root: str = "") -> Iterator[ImageFile]:
    """The images in a zip below its folder `root`, class by class; nothing is ever unpacked to disk.

    Raises:
        DataError: not a zip, or damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: not a readable zip file ({error}). Download it again.") from error
    entries = [(pathlib.PurePosixPath(info.filename.replace("\\", "/")), info) for info in archive.infolist()]
    for entry, info in sorted(entries, key=lambda pair: (pair[0].parent, pair[0].name)):
        if not entry.name.lower().endswith(SUFFIXES) or entry.name.startswith(".") or entry.parts[0] == "__MACOSX":
            continue
        if entry.is_absolute() or ".." in entry.parts:
            logging.warning("%s: skipped %s: its path leaves the archive", path, info.filename)
        elif entry.is_relative_to(root):
            class_name = entry.relative_to(root).parent.as_posix()
            yield ImageFile(class_name, f"{path}:{entry}", (info.CRC,), functools.partial(_read_zipped, archive, info))


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(MAX_FILE_BYTES + 1)  # a bound of our own: the size in the directory may lie


def load_images(
    list_files: Callable[[], Iterable[ImageFile]], image_format: ImageFormat, cache_dir: pathlib.Path
) -> ClassImages:
    """Decodes the files, classes in order of appearance, or takes them from the cache when nothing has changed.

    Files that cannot be used are skipped and named in a warning.

    Args:
        list_files: lists the files class by class; called once for the cache key and again to decode, since the
            list of FIGR-8 would fill half a gigabyte.

    Raises:
        DataError: no usable image, or the cache cannot be written.
    """
    num_files = 0
    digest = hashlib.sha256(repr((_CACHE_FORMAT, tuple(image_format))).encode())
    for file in list_files():
        digest.update(repr(file[:3]).encode())
        num_files += 1
    target = cache_dir / digest.hexdigest()[:32]
    try:
        _sweep(cache_dir)
        try:
            return _read_cache(target, image_format)
        except (FileNotFoundError, ValueError, KeyError):  # not there yet, or damaged
            _decode_to(target, list_files(), num_files, image_format)
            return _read_cache(target, image_format)
    except OSError as error:
        raise DataError(f"image cache {target}: {error.strerror or error}. Choose another --cache_dir.") from error


def _sweep(cache_dir: pathlib.Path) -> None:
    """Removes what killed processes left half decoded, a day after they last wrote to it."""
    for scratch in cache_dir.glob("unfinished-*"):
        if time.time() - scratch.stat().st_mtime > 86_400:
            shutil.rmtree(scratch, ignore_errors=True)


def _decode_to(target: pathlib.Path, files: Iterable[ImageFile], num_files: int, image_format: ImageFormat) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Decoded under another name and renamed last: an interrupted or a second process never leaves half a cache.
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
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _decoded(
    files: Iterable[ImageFile], num_files: int, image_format: ImageFormat
) -> Iterator[tuple[ImageFile, np.ndarray | ImageError]]:
    def decode(file: ImageFile) -> np.ndarray | ImageError:
        try:
            return decode_image(file.read(), *image_format)
        except ImageError as error:
            return error
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            return ImageError(f"damaged or encrypted in its zip ({error})")

    remaining = iter(files)
    # Threads suffice: Pillow lets go of the interpreter while it decodes and resizes.
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        tqdm.tqdm(total=num_files, desc="decoding images", unit=" images", disable=None, leave=False) as bar,
    ):
        while batch := list(itertools.islice(remaining, _BATCH)):
            yield from zip(batch, pool.map(decode, batch), strict=True)
            bar.update(len(batch))


def _read_cache(target: pathlib.Path, image_format: ImageFormat) -> ClassImages:
    """Raises FileNotFoundError, ValueError or KeyError where there is no whole cache."""
    index = json.loads((target / "index.json").read_text())
    for line in index["skipped"][:_SKIPPED_SHOWN]:
        logging.warning("skipped %s", line)
    if len(index["skipped"]) > _SKIPPED_SHOWN:
        logging.warning("skipped %d more, listed in %s", len(index["skipped"]) - _SKIPPED_SHOWN, target / "index.json")
    counts = index["counts"]
    if not counts:
        raise DataError(f"no usable image found{': every file was skipped' if index['skipped'] else ''}.")
    size, channels, _ = image_format
    shape = (sum(counts.values()), size, size, channels)
    return ClassImages(np.memmap(target / "images.u8", np.uint8, "r", shape=shape), counts)
