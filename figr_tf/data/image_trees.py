"""The images in folders and zip files whose leaf folders are classes: listed, not yet decoded."""

import functools
import lzma
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

from absl import logging

from figr_common.images import MAX_FILE_BYTES, ImageError, is_image_name
from figr_tf.core.errors import DataError

# Thumbnails and copies by file managers, network drives, macOS and Python, beside those in folders
# whose name begins with a dot.
_LEFTOVERS = frozenset(
    {"__MACOSX", "@eaDir", "@Recycle", "#recycle", "$RECYCLE.BIN", "System Volume Information"}
    | {"lost+found", "__pycache__"}
)


class ImageFile(NamedTuple):
    """One image of a class, not read yet.

    Attributes:
        class_name: of the image's class.
        name: for messages.
        stamp: changes when the bytes may have changed.
        read: returns the bytes. Raises ImageError where a zip does not give them.
    """

    class_name: str
    name: str
    stamp: tuple
    read: Callable[[], bytes]


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
                except OSError as error:  # A link to nothing, say.
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
    """Warns once, though files are listed twice, see `class_images.load_images`."""
    logging.warning("%s", sentence)


def _may_be_class(folder_name: str) -> bool:
    """False for what programs and file systems leave behind, copies of images among it."""
    return not folder_name.startswith(".") and folder_name not in _LEFTOVERS


def _unreadable(error: OSError, path: str | None = None) -> NoReturn:
    """Ends the loading.

    What cannot be read today may be readable tomorrow, and the cache would not notice.
    """
    raise DataError(
        f"{path or error.filename}: {error.strerror}. Make it readable, or remove it."
    ) from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        _unreadable(error)


def files_in_zip(path: pathlib.Path, root: str = "") -> Iterator[ImageFile]:
    """The images in a zip below its folder `root`, class by class; none is unpacked to disk.

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
    # By folder first: an archive may list its files in any order, and a class must be in one piece.
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
    try:
        with archive.open(info) as file:
            # A bound of our own, since the size in the archive's directory may lie.
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        # bzip2 calls damage an OSError, without a number; others are of the disk.
        if error.errno is not None:
            _unreadable(error, archive.filename)
        damage: Exception = error
    except (
        # RuntimeError is zipfile's for an encrypted file, NotImplementedError for a compression
        # that it does not know.
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
        *(EOFError, RuntimeError, NotImplementedError),
    ) as error:
        damage = error
    raise ImageError(f"damaged or encrypted in its zip ({damage})") from damage
