"""The versions of one model on disk.

The highest is served. A new one is ready before the old one goes.
"""

import contextlib
import pathlib
import threading
from collections.abc import Callable, Iterator

from absl import logging

from serving.embedded.servable import Servable
from serving.errors import ServingError
from serving.transports import VersionStatus


class _Loaded:
    """A servable and how many requests use it."""

    def __init__(self, servable: Servable):
        self.servable = servable
        self.users = 0


def newest_version(base_path: pathlib.Path) -> pathlib.Path | None:
    """The folder with the highest whole number for a name, or None.

    Others, such as half-written ones, do not count.
    """
    if not base_path.is_dir():
        return None
    folders = [
        path
        for path in base_path.iterdir()
        # To Python the digits of other scripts are decimal too.
        if path.name.isascii() and path.name.isdecimal() and path.is_dir()
    ]
    # By number: 10 is newer than 9.
    return max(folders, key=lambda path: int(path.name), default=None)


def _files(folder: pathlib.Path) -> dict[pathlib.Path, tuple[int, int]]:
    """Size and time of a version folder and all in it: it tells whether that has changed."""
    stats = {path: path.lstat() for path in (folder, *folder.rglob("*"))}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


class ModelVersions:
    """Keeps the newest version loaded, for requests in any number of threads.

    Args:
        base_path: folder of the version folders.
        load: from a version folder to its servable; it raises ServingError.
        poll_seconds: between two looks for a newer version.
    """

    def __init__(
        self,
        base_path: pathlib.Path,
        load: Callable[[pathlib.Path], Servable],
        poll_seconds: float,
    ):
        self._base_path = base_path
        self._load = load
        self._poll_seconds = poll_seconds
        self._changed = threading.Condition()
        self._current: _Loaded | None = None
        self._states: dict[int, VersionStatus] = {}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="model-versions", daemon=True)

    def start(self) -> None:
        """Loads the newest version, then watches for newer ones.

        Raises:
            ServingError: there is none to load, or it fails.
        """
        path = newest_version(self._base_path)
        if path is None:
            raise ServingError(
                "NOT_FOUND",
                f"{self._base_path}: no version folder, such as {self._base_path}/1, there",
            )
        # Here and not in the watcher: a first version that does not load ends the start.
        self._replace(path)
        self._watcher.start()

    def stop(self, seconds: float) -> bool:
        """Stops watching, and unloads once no request uses the model.

        Returns:
            False if a version is still loading after so many seconds; nothing is unloaded then.
        """
        self._stop.set()
        self._watcher.join(seconds)
        if self._watcher.is_alive():
            return False
        self._swap(None)
        return True

    @contextlib.contextmanager
    def use(self, version: int | None) -> Iterator[Servable]:
        """The loaded servable, which stays in memory while it is in use.

        Args:
            version: None takes whichever is loaded.

        Raises:
            ServingError: NOT_FOUND, for another version than the one that is loaded.
        """
        with self._changed:
            loaded = self._current
            if loaded is None or version not in (None, loaded.servable.version):
                raise ServingError("NOT_FOUND", f"version {version} is not loaded")
            # Counted under the lock, so that a version that is being replaced waits for this
            # request.
            loaded.users += 1
        try:
            yield loaded.servable
        finally:
            with self._changed:
                loaded.users -= 1
                self._changed.notify_all()

    def statuses(self) -> list[VersionStatus]:
        """Of all versions that were ever seen, newest first; those that are gone, too."""
        with self._changed:
            return [self._states[version] for version in sorted(self._states, reverse=True)]

    def _mark(self, version: int, state: str, error: str = "") -> None:
        with self._changed:
            self._states[version] = VersionStatus(version, state, error)

    def _loaded(self, path: pathlib.Path) -> Servable:
        try:
            return self._load(path)
        except ServingError:
            raise
        # Whatever is wrong with one version, the watcher goes on to the next.
        except Exception as error:
            raise ServingError("INTERNAL", f"{path}: {error!r}") from error

    def _replace(self, path: pathlib.Path) -> None:
        version = int(path.name)
        self._mark(version, "LOADING")
        try:
            servable = self._loaded(path)
        except ServingError as error:
            self._mark(version, "END", error.message)
            raise
        # Before the swap: for a moment both versions are there, and never none.
        self._mark(version, "AVAILABLE")
        self._swap(servable)

    def _swap(self, servable: Servable | None) -> None:
        """New requests get this one; the old one goes when its last request is answered."""
        with self._changed:
            old, self._current = self._current, _Loaded(servable) if servable else None
            if old is None:
                return
            # A condition's lock may be taken twice by one thread; `_mark` takes it again.
            self._mark(old.servable.version, "UNLOADING")
            self._changed.wait_for(lambda: old.users == 0)
        # Outside of the lock: freeing a large model takes a while.
        old.servable.close()
        self._mark(old.servable.version, "END")

    def _current_version(self) -> int | None:
        with self._changed:
            return self._current.servable.version if self._current else None

    def _watch(self) -> None:
        failed = None
        while not self._stop.wait(self._poll_seconds):
            try:
                path = newest_version(self._base_path)
                if path is None or int(path.name) == self._current_version():
                    continue
                files = _files(path)
            # Such as a network file system that is away for a moment.
            except OSError as error:
                logging.error("%s: %s", self._base_path, error)
                continue
            if files == failed:
                continue
            try:
                self._replace(path)
                logging.info("serving version %s", path.name)
            except ServingError as error:
                # Not tried again as it is: it would fail every `poll_seconds`. A newer one will be,
                # and one of the same number that was exported anew, or whose copy goes on.
                failed = files
                logging.error(
                    "version %s is not loaded, the old one stays: %s",
                    path.name,
                    error.message,
                )
