"""The numbered folder that records a meta-training run."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import filelock
from absl import logging

from figr_tf.core.errors import RunError
from figr_tf.core.settings import TrainingSettings

Settings = TypeVar("Settings", bound=TrainingSettings)
PACKAGE_RECORD = "weights.json"  # What makes a folder a packaged model: core/trained.py.
_FIRST_SYSTEM = "gan"  # That of the runs which were recorded before there were others.
_CHECKPOINT = re.compile(r"ckpt-(\d{9,})\.index")  # TensorFlow writes it when all else is there.
_NUMBERED = re.compile(r"\d{5,}-.*")
_RECORDED_PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "tensorflow-datasets")


def refuse_difference(place: pathlib.Path, recorded: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises RunError where a recorded run and the present command differ.

    It names the first fact in which they do, and both values.
    """
    for key in now:
        if key in recorded and recorded[key] != now[key]:
            raise RunError(
                f"{place}: was trained with {key}={recorded[key]}, this command has"
                f" {key}={now[key]}. Give the same settings and data, or another --run."
            )


class RunFolder:
    """One run on disk.

    Attributes:
        path: holds flags.txt, settings.json, network_spec.json, split.json, identity.json,
            starts.jsonl (versions, time and number of replicas of each start), metrics.jsonl.
        checkpoints, grids, tensorboard: its subfolders.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.grids = path / "grids"
        self.tensorboard = path / "tensorboard"
        self._lock = filelock.FileLock(path / ".lock", blocking=False)

    def exists(self) -> bool:
        """Whether a run has been recorded here."""
        return (self.path / "identity.json").exists()

    def is_packaged(self) -> bool:
        """Whether the folder holds a packaged model, which holds nothing to go on training from."""
        return (self.path / PACKAGE_RECORD).exists()

    def lock(self) -> None:
        """Keeps other processes from training into this folder.

        The operating system lets go of the lock when this process ends, however it ends.

        Raises:
            RunError: another process holds it.
        """
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise RunError(
                f"{self.path}: another process is training this run. Stop it or choose --run."
            ) from error

    def unlock(self) -> None:
        """Lets others train into this folder."""
        self._lock.release()

    def record(
        self,
        settings: TrainingSettings,
        identity: dict[str, Any],
        files: Mapping[str, str],
        num_replicas: int = 1,
    ) -> None:
        """Writes down this start; its settings, a longer run's say, replace those of the last.

        identity.json goes last, since it is what makes the folder a run.

        Args:
            files: name → text of what else the system or its command wants to be kept.
        """
        for folder in (self.checkpoints, self.grids, self.tensorboard):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.path / "starts.jsonl").open("a") as file:
            file.write(json.dumps(versions() | {"replicas": num_replicas}) + "\n")
        texts = {
            **files,
            "settings.json": json.dumps(dataclasses.asdict(settings), indent=1),
            "identity.json": json.dumps(identity, indent=1),
        }
        for name, text in texts.items():
            write_whole(self.path / name, text)

    def read_identity(self) -> dict[str, Any]:
        """Raises RunError if the folder is not a run or its record is damaged."""
        return {"system": _FIRST_SYSTEM} | self._read_json("identity.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text())
            if not isinstance(content, dict):
                raise ValueError("not a record")
            return content
        except FileNotFoundError as error:
            raise RunError(f"{self.path}: not a run folder (no {name}).") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path}: its {name} cannot be read: {error}") from error

    def read_settings(self, of: type[Settings]) -> Settings:
        """The settings as recorded.

        Args:
            of: the settings of the system that the run should be of.

        Raises:
            RunError: the folder is no run or one of another system, or its record is damaged.
        """
        system = self.read_identity()["system"]
        if system != of.system:
            raise RunError(
                f"{self.path}: is a run of {system!r}; a run of {of.system!r} is needed."
            )
        try:
            return of.from_dict(self._read_json("settings.json"))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(f"{self.path}: its settings cannot be read: {error}") from error

    def num_checkpointed_meta_steps(self) -> int:
        """Meta-steps of the newest checkpoint, 0 if there is none."""
        return max(checkpointed_meta_steps(self.checkpoints), default=0)

    def grid(self, meta_step: int) -> pathlib.Path:
        """The file of one picture."""
        return self.grids / f"step-{meta_step:09d}.png"

    def is_finished(self, num_meta_steps: int) -> bool:
        """Whether the last checkpoint and the last picture are there."""
        done = self.num_checkpointed_meta_steps()
        return done > num_meta_steps or (done == num_meta_steps and self.grid(done).exists())


def checkpointed_meta_steps(folder: pathlib.Path) -> list[int]:
    """Meta-steps of the checkpoints in a folder, newest first; renamed copies do not count."""
    found = (_CHECKPOINT.fullmatch(path.name) for path in folder.glob("ckpt-*.index"))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def write_whole(path: pathlib.Path, text: str) -> None:
    """Replaces a file in one go: a kill or a full disk leaves the old one."""
    scratch = path.with_name(f".{path.name}.new")
    # Names of folders may hold what an ASCII locale does not know.
    scratch.write_text(text, encoding="utf-8", errors="surrogateescape")
    # Renaming is one act for the file system, writing is not.
    os.replace(scratch, path)


def versions() -> dict[str, str]:
    """Of the packages that results depend on, of Python and the platform, and the time."""
    packages = {name: importlib.metadata.version(name) for name in _RECORDED_PACKAGES}
    return packages | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def find_or_number(
    runs_dir: pathlib.Path, settings: TrainingSettings, identity: dict[str, Any]
) -> RunFolder:
    """The newest unfinished run of this identity that nobody trains, or the next numbered folder.

    The folder is returned locked.
    """
    numbered = sorted(
        path for path in runs_dir.glob("*") if path.is_dir() and _NUMBERED.fullmatch(path.name)
    )
    # The newest first: of two that would fit, somebody most likely means the last.
    for path in reversed(numbered):
        folder = RunFolder(path)
        try:
            recorded = settings.complete(folder.read_identity())
            finished = folder.is_packaged() or folder.is_finished(settings.num_meta_steps)
            if recorded != identity or finished:
                continue
            folder.lock()
            return folder
        except RunError as error:
            # Never start over beside somebody's work in silence.
            if folder.num_checkpointed_meta_steps():
                logging.warning("not continued: %s", error)
    number = max((int(path.name.split("-")[0]) for path in numbered), default=0) + 1
    while True:
        path = runs_dir / f"{number:05d}-{settings.name}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:  # Another process took this number in between.
            number += 1
            continue
        folder = RunFolder(path)
        folder.lock()
        return folder


def at_path(path: pathlib.Path, settings: TrainingSettings, identity: dict[str, Any]) -> RunFolder:
    """The run at a path the user chose, made if need be, returned locked.

    Raises:
        RunError: the folder holds something else, a packaged model or a run of another identity, or
            is in use.
    """
    folder = RunFolder(path)
    if folder.is_packaged():
        raise RunError(
            f"{path}: is a packaged model, and those do not train. Choose another --run."
        )
    # What a start that was killed at once may leave.
    ours = {"starts.jsonl", "flags.txt", "network_spec.json", "split.json", "settings.json"}
    ours |= {"checkpoints", "grids", "tensorboard"}
    if folder.exists():
        refuse_difference(path, settings.complete(folder.read_identity()), identity)
    elif path.exists() and not _holds_no_more_than(ours, path):
        raise RunError(f"{path}: exists but is not a run folder. Choose another --run.")
    path.mkdir(parents=True, exist_ok=True)
    folder.lock()
    return folder


def _holds_no_more_than(names: set[str], path: pathlib.Path) -> bool:
    """Whether it is a folder of nothing but these names and hidden files."""
    if not path.is_dir():
        return False
    return all(inside.name in names or inside.name.startswith(".") for inside in path.iterdir())
