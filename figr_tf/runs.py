"""Settings of a meta-training run, and the numbered folder that records it."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import time
from typing import Any

import filelock
from absl import logging

from figr_tf.adaptation import InnerStep
from figr_tf.datasets import DataSettings
from figr_tf.errors import RunError
from figr_tf.networks import NetworkSpec
from figr_tf.splits import Split

# Settings that change how long a run takes or what it shows, but not the weights at a given meta-step. Of jit_compile
# the outcome counts, not the wish: XLA draws other random numbers from the same seed.
_NOT_IDENTITY = ("log_every", "eval_every", "checkpoint_every", "jit_compile")
_NUMBERED = re.compile(r"\d{5,}-.*")
GENERATED_INK = -1.0  # the value of ink in the networks' images, whatever the files held; paper is 1
_RECORDED_PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "tensorflow-datasets")


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that decides the outcome of a run. Attributes not explained here: see the types and the flags' help.

    Raises:
        ValueError: values that cannot work, or not together.
    """

    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    inner: InnerStep = dataclasses.field(default_factory=InnerStep)
    num_shots: int = 4
    num_inner_steps: int = 10
    meta_learning_rate: float = 1e-5
    anneal_meta_learning_rate: bool = False
    meta_batch_size: int = 1
    num_meta_steps: int = 250_000
    seed: int = 0
    log_every: int = 100
    eval_every: int = 10_000
    checkpoint_every: int = 1_000
    jit_compile: str = "auto"

    def __post_init__(self):
        for name in ("num_shots", "meta_batch_size", "num_meta_steps", "log_every", "eval_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive integer. Received: {getattr(self, name)}")
        for name, value in (("meta_learning_rate", self.meta_learning_rate), ("seed", self.seed)):
            if value < 0:
                raise ValueError(f"{name} must not be negative. Received: {value}")
        if self.jit_compile not in ("auto", "on", "off"):
            raise ValueError(f"jit_compile must be auto, on or off. Received: {self.jit_compile!r}")
        if self.data.image_size != self.network.image_size or self.data.channels != self.network.channels:
            raise ValueError("data and network must agree on image_size and channels")

    def identity(self) -> dict[str, Any]:
        """The settings that the weights at a given meta-step depend on, and the polarity of the generated images."""
        fields = dataclasses.asdict(self)
        del fields["data"]["data_dir"], fields["data"]["cache_dir"]  # where the data lies; the split says which it is
        for name in _NOT_IDENTITY:
            del fields[name]
        if not self.anneal_meta_learning_rate:  # otherwise the length of the run is part of its schedule
            del fields["num_meta_steps"]
        nested = {f"{group}.{k}": v for group in ("data", "network", "inner") for k, v in fields.pop(group).items()}
        return nested | fields | {"generated_ink": GENERATED_INK}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Settings":
        data = dict(fields["data"], held_out_classes=tuple(fields["data"]["held_out_classes"]))
        nested = {
            "data": DataSettings(**data),
            "network": NetworkSpec(**fields["network"]),
            "inner": InnerStep(**fields["inner"]),
        }
        return cls(**(fields | nested))

    def name(self) -> str:
        """Such as "omniglot-resnet-h64"."""
        return f"{self.data.dataset}-{self.network.architecture}-h{self.network.hidden}"


def refuse_difference(place: pathlib.Path, recorded: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises RunError naming the first fact in which a recorded run and the present command differ, and both values."""
    for key in now:
        if key in recorded and recorded[key] != now[key]:
            raise RunError(
                f"{place}: was trained with {key}={recorded[key]}, this command has {key}={now[key]}."
                " Give the same settings and data, or another --run."
            )


class RunFolder:
    """One run on disk.

    Attributes:
        path: holds flags.txt, settings.json, network_spec.json, split.json, identity.json, starts.jsonl (versions and
            time of each start), metrics.jsonl.
        checkpoints, grids, tensorboard: its subfolders.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.grids = path / "grids"
        self.tensorboard = path / "tensorboard"
        self._lock = filelock.FileLock(path / ".lock", blocking=False)

    def exists(self) -> bool:
        return (self.path / "identity.json").exists()

    def check_path(self) -> None:
        """Raises RunError if TensorFlow could save below this path but not restore: it takes the path for a pattern."""
        wild = sorted(set("*?[]") & set(str(self.path.resolve())))
        if wild:
            raise RunError(f"{self.path}: TensorFlow cannot restore from a path with {' '.join(wild)}. Choose another.")

    def lock(self) -> None:
        """Keeps other processes from training into this folder; released by the system when this one ends.

        Raises:
            RunError: another process holds it.
        """
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise RunError(f"{self.path}: another process is training this run. Stop it or choose --run.") from error

    def unlock(self) -> None:
        self._lock.release()

    def record(self, settings: Settings, split: Split, identity: dict[str, Any], flagfile: str) -> None:
        """Writes down this start: its settings (a longer run than before, say) replace those of the last.

        identity.json goes last, since it is what makes the folder a run.
        """
        for folder in (self.checkpoints, self.grids, self.tensorboard):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.path / "starts.jsonl").open("a") as file:
            file.write(json.dumps(versions()) + "\n")
        for name, text in (
            ("flags.txt", flagfile),
            ("network_spec.json", settings.network.to_json()),
            ("split.json", split.to_json()),
            ("settings.json", json.dumps(dataclasses.asdict(settings), indent=1)),
            ("identity.json", json.dumps(identity, indent=1)),
        ):
            write_whole(self.path / name, text)

    def read_identity(self) -> dict[str, Any]:
        """Raises RunError if the folder is not a run or its record is damaged."""
        return self._read_json("identity.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.path / name).read_text())
        except FileNotFoundError as error:
            raise RunError(f"{self.path}: not a run folder (no {name}).") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path}: its {name} cannot be read: {error}") from error

    def read_settings(self) -> Settings:
        """Raises RunError if the folder is not a run or its record is damaged."""
        fields = self._read_json("settings.json") | {"network": self._read_json("network_spec.json")}
        try:
            return Settings.from_dict(fields)
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(f"{self.path}: its settings cannot be read: {error}") from error

    def read_split(self) -> Split:
        """Raises RunError if split.json is missing or was altered."""
        try:
            return Split.read(self.path / "split.json")
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{self.path}: its split cannot be read: {error}") from error

    def num_checkpointed_steps(self) -> int:
        """Meta-steps of the newest checkpoint, 0 if there is none."""
        return max((int(p.stem.removeprefix("ckpt-")) for p in self.checkpoints.glob("ckpt-*.index")), default=0)

    def grid(self, meta_step: int) -> pathlib.Path:
        """The file of one picture."""
        return self.grids / f"step-{meta_step:09d}.png"

    def is_finished(self, num_meta_steps: int) -> bool:
        """Whether the last checkpoint and the last picture are there."""
        return self.num_checkpointed_steps() >= num_meta_steps and self.grid(self.num_checkpointed_steps()).exists()


def write_whole(path: pathlib.Path, text: str) -> None:
    """Replaces a file in one go: a kill or a full disk leaves the old one."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text)
    os.replace(scratch, path)


def versions() -> dict[str, str]:
    """Of the packages that results depend on, of Python and the platform, and the time."""
    packages = {name: importlib.metadata.version(name) for name in _RECORDED_PACKAGES}
    return packages | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def full_identity(settings: Settings, split: Split, data_sha256: str, compiled: bool) -> dict[str, Any]:
    """All that the weights at a given meta-step depend on, as it stands in identity.json and in every checkpoint."""
    identity = settings.identity() | {"split": split.describe(), "data_sha256": data_sha256, "xla": compiled}
    return json.loads(json.dumps(identity))  # tuples become lists, as they will be when read back


def find_or_number(runs_dir: pathlib.Path, settings: Settings, identity: dict[str, Any]) -> RunFolder:
    """The newest unfinished run of this identity that no process is training, otherwise the next numbered folder.

    The folder is returned locked.
    """
    RunFolder(runs_dir).check_path()
    numbered = sorted(path for path in runs_dir.glob("*") if path.is_dir() and _NUMBERED.fullmatch(path.name))
    for path in reversed(numbered):
        folder = RunFolder(path)
        try:
            if folder.read_identity() != identity or folder.is_finished(settings.num_meta_steps):
                continue
            folder.lock()
            return folder
        except RunError as error:
            if folder.num_checkpointed_steps():  # never start over beside somebody's work in silence
                logging.warning("not continued: %s", error)
    number = max((int(path.name.split("-")[0]) for path in numbered), default=0) + 1
    while True:
        path = runs_dir / f"{number:05d}-{settings.name()}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:  # another process took this number in between
            number += 1
            continue
        folder = RunFolder(path)
        folder.lock()
        return folder


def at_path(path: pathlib.Path, identity: dict[str, Any]) -> RunFolder:
    """The run at a path the user chose, made if need be, returned locked.

    Raises:
        RunError: the folder holds something else or a run of another identity, or is in use.
    """
    folder = RunFolder(path)
    folder.check_path()
    ours = {"starts.jsonl", "flags.txt", "network_spec.json", "split.json", "settings.json"}
    ours |= {"checkpoints", "grids", "tensorboard"}  # as a start that was killed at once may leave them
    if folder.exists():
        refuse_difference(path, folder.read_identity(), identity)
    elif path.exists() and not (path.is_dir() and all(p.name in ours or p.name[0] == "." for p in path.iterdir())):
        raise RunError(f"{path}: exists but is not a run folder. Choose another --run.")
    path.mkdir(parents=True, exist_ok=True)
    folder.lock()
    return folder
