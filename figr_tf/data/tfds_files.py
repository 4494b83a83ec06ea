"""The route through tensorflow-datasets: prepared on disk, its manual folder, or a download."""

import os
import pathlib
import queue
import threading
import urllib.request
import zlib
from collections.abc import Callable
from typing import Any

from figr_common import proxies
from figr_tf.core.errors import DataError
from figr_tf.data.image_trees import ImageFile

# Seconds. With the imports before it, a missing download is reported within five.
_NETWORK_TIMEOUT = 2.0


def files(
    name: str,
    data_dir: pathlib.Path | None,
    splits: tuple[str, ...],
    class_name: Callable[[Any, Any], str],
) -> list[tuple[str, ImageFile]]:
    """All images of some splits of a data set, class by class, each with its split's name.

    Args:
        data_dir: tensorflow-datasets' folder; None for its default.
        class_name: (builder, example) → the class' name.

    Raises:
        DataError: see `_prepared_builder`.
    """
    # It takes seconds to import, and only this route needs it.
    import tensorflow_datasets as tfds

    builder = _prepared_builder(name, data_dir)
    result = []
    for split in splits:
        decoders = {"image": tfds.decode.SkipDecoding()}
        for example in tfds.as_numpy(
            builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
        ):
            file = _file(class_name(builder, example), builder.info.full_name, example["image"])
            result.append((split, file))
    return sorted(result, key=lambda pair: pair[1].class_name)


def _file(class_name: str, name: str, data: bytes) -> ImageFile:
    return ImageFile(class_name, name, (zlib.crc32(data),), lambda: data)


def _prepared_builder(name: str, data_dir: pathlib.Path | None):
    """A tensorflow-datasets builder with its data on disk, downloaded if need be.

    Raises:
        DataError: not prepared, the files are not in the manual folder, and the network does not
            answer.
    """
    import tensorflow_datasets as tfds

    if data_dir is None and os.path.expanduser("~") == "~" and "TFDS_DATA_DIR" not in os.environ:
        raise DataError(f"there is no home folder that {name} could be in. Give --data_dir.")
    builder = tfds.builder(name, data_dir=data_dir)
    if builder.is_prepared():
        return builder
    files = {
        pathlib.PurePosixPath(url).name: (url, info) for url, info in builder.url_infos.items()
    }
    manual = pathlib.Path(builder._data_dir_root) / "downloads" / "manual"
    if not all((manual / file).exists() for file in files):
        problem = _download_problem(next(iter(files.values()))[0])
        if problem:
            listing = "".join(
                f"\n  {url}  {int(i.size)} bytes  sha256 {i.checksum}" for url, i in files.values()
            )
            raise DataError(
                f"{name} is not on this machine and cannot be downloaded ({problem}). Put these"
                f" files, under their own names, into {manual}, or give --data_dir a folder that"
                f" holds the data set:{listing}"
            )
    try:
        builder.download_and_prepare()
    # tensorflow-datasets raises errors of many kinds. A damaged file is the user's to replace.
    except Exception as error:
        raise DataError(
            f"{name}: tensorflow-datasets could not prepare it: {' '.join(str(error).split())}"
        ) from error
    return builder


def _download_problem(url: str) -> str | None:
    """Why the address cannot be fetched from here, or None.

    It answers within `_NETWORK_TIMEOUT`; tensorflow-datasets itself retries for minutes.
    """
    answers: queue.Queue[str | None] = queue.Queue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=_NETWORK_TIMEOUT):
                answers.put(None)
        except OSError as error:  # URLError is one.
            answers.put(f"{getattr(error, 'reason', error)}{proxies.on_way_of_url(url)}")

    # In a thread, because the time-out of a socket does not bound the look-up of its name.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_NETWORK_TIMEOUT)
    except queue.Empty:
        return f"no answer within {_NETWORK_TIMEOUT:g} s{proxies.on_way_of_url(url)}"
