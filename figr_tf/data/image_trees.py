"""Folders and zip files whose leaf folders are classes → class-indexed images, decoded in parallel
and cached.

FIGR-8 has 1.5 million files, so images go to disk as they are decoded and come back memory-mapped;
no more than one batch of files is held at a time.
"""

import concurrent.futures
import contextlib
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

from figr_common.images import MAX_FILE_BYTES, ImageError, decode_drawing, is_image_name
from figr_tf.core.errors import DataError

_CACHE_FORMAT = 2
_BATCH = 2048
_SKIPPED_SHOWN = 5
# Thumbnails and copies by file managers, network drives, macOS and Python, beside those in folders
# whose name begins with a dot.
_LEFTOVERS = frozenset(
    {"__MACOSX", "@eaDir", "@Recycle", "#recycle", "$RECYCLE.BIN", "System Volume Information"}
    | {"lost+found", "__pycache__"}
)
_NAME_LENGTH = 32  # Characters of a cache's digest that name its folder.
_DAY = 86_400  # Seconds.
_KEPT_UNUSED = 60 * _DAY


class ImageFile(NamedTuple):
    """One image of a class: `read` returns its bytes; `stamp` changes when they may have changed."""

    class_name: str
    name: str
    stamp: tuple
    read: Callable[[], bytes]


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
        return dict(
            zip(self.counts, itertools.accumulate(self.counts.values(), initial=0), strict=False)
        )

    def digest(self) -> str:
        """sha256 of class names, counts and every pixel."""
        digest = hashlib.sha256(json.dumps(self.counts).encode())
        for start in range(0, len(self.images), _BATCH):
            digest.update(self.images[start : start + _BATCH].tobytes())
        return digest.hexdigest()


def files_in_folder(root: pathlib.Path) -> Iterator[ImageFile]:
    """The images below `root`, class by class; the class is the folder's path relative to it.

    Links to folders are followed, each folder once.
    """
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(root, onerror=_unreadable, followlinks=True):
        class_name = pathlib.PurePath(os.path.relpath(folder, root)).as_posix()
        # In place: what is taken from the list, os.walk does not enter.
        subfolders[:] = [
            n for n in sorted(subfolders) if _is_new(root, os.path.join(folder, n), seen)
        ]
        for name in sorted(names):
            if is_image_name(name):
                path = os.path.join(folder, name)
                try:
                    stat = os.stat(path)
                except OSError as error:  # a link to nothing, say
                    _unreadable(error)
                yield ImageFile(
                    class_name,
                    path,
                    (stat.st_size, stat.st_mtime_ns),
                    functools.partial(_read, path),
                )


def _is_new(root: pathlib.Path, folder: str, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder can hold classes and its images come by no other way.

    A link into `root` or above it would bring each image a second time, or lead in a circle.
    """
    if not _may_be_class(os.path.basename(folder)):
        return False
    if os.path.islink(folder):
        target, top = pathlib.Path(folder).resolve(), root.resolve()
        if target.is_relative_to(top) or top.is_relative_to(target):
            _warn_once(
                f"{folder}: link not followed, since it leads to {target}, which is read anyway"
            )
            return False
    stat = os.stat(folder)
    if (stat.st_dev, stat.st_ino) in seen:
        _warn_once(f"{folder}: not read, since another link leads to the same folder")
        return False
    seen.add((stat.st_dev, stat.st_ino))
    return True


@functools.cache
def _warn_once(sentence: str) -> None:
    """Files are listed twice, see `load_images`."""
    logging.warning("%s", sentence)


def _may_be_class(folder_name: str) -> bool:
    """False for what programs and file systems leave behind, copies of images among it."""
    return not folder_name.startswith(".") and folder_name not in _LEFTOVERS


def _unreadable(error: OSError) -> NoReturn:
    """Ends the loading: what cannot be read today may be readable tomorrow, and the cache would not
    notice.
    """
    raise DataError(
        f"{error.filename}: {error.strerror}. Make it readable, or remove it."
    ) from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        _unreadable(error)


def files_in_zip(path: pathlib.Path, root: str = "") -> Iterator[ImageFile]:
    """The images in a zip below its folder `root`, class by class; nothing is ever unpacked to
    disk.

    Raises:
        DataError: not a zip, or damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: not a readable zip file ({error}). Download it again.") from error
    entries = [
        (pathlib.PurePosixPath(info.filename.replace("\\", "/")), info)
        for info in archive.infolist()
    ]
    for entry, info in sorted(entries, key=lambda pair: (pair[0].parent, pair[0].name)):
        if not is_image_name(entry.name):
            continue
        if entry.is_absolute() or ".." in entry.parts:
            _warn_once(f"{path}: skipped {info.filename}: its path leaves the archive")
        elif entry.is_relative_to(root) and all(map(_may_be_class, entry.parent.parts)):
            class_name = entry.relative_to(root).parent.as_posix()
            yield ImageFile(
                class_name,
                f"{path}:{entry}",
                (info.CRC,),
                functools.partial(_read_zipped, archive, info),
            )


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(
            MAX_FILE_BYTES + 1
        )  # a bound of our own: the size in the directory may lie


def load_images(
    list_files: Callable[[], Iterable[ImageFile]],
    image_format: ImageFormat,
    cache_dir: pathlib.Path,
) -> ClassImages:
    """Decodes the files, classes in order of appearance, or takes them from the cache when nothing
    has changed.

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
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            return ImageError(f"damaged or encrypted in its zip ({error})")

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
        pixels = (
            np.memmap(file, np.uint8, "r", shape=shape) if counts else np.zeros(shape, np.uint8)
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None
    with contextlib.suppress(OSError):  # A cache that is somebody else's is theirs to keep.
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
