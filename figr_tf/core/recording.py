"""What a training writes: metrics, pictures, checkpoints, progress.

Of several workers only the chief writes; the others have a `Bystander`.
"""

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_common import image_grid
from figr_tf.core import checkpoints, progress, reptile, runs
from figr_tf.core.errors import RunError
from figr_tf.core.runs import RunFolder
from figr_tf.core.settings import TrainingSettings


class HeldOut(Protocol):
    """What can show how held-out tasks come out: the trainer."""

    def pictures(self) -> Iterator[Image.Image]:
        """See `system.System.pictures`."""

    def report(self) -> dict[str, float]:
        """See `system.System.report`."""


@contextlib.contextmanager
def _full_disk_is_an_os_error() -> Iterator[None]:
    """TensorFlow's writer has errors of its own for what Python's files raise OSError for."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


class Metrics:
    """metrics.jsonl and TensorBoard: means over the meta-steps since the last line."""

    def __init__(self, folder: RunFolder, meta_step: int):
        """meta_step: at which this start begins; later lines of an earlier start are dropped."""
        self._path = folder.path / "metrics.jsonl"
        self._forget_after(meta_step)
        # A file of its own for each start: two writers of one file would tear it.
        with _full_disk_is_an_os_error():
            self._writer = tf.summary.create_file_writer(
                str(folder.tensorboard), filename_suffix=f".from-{meta_step}"
            )
        self._pending: list[dict[str, float]] = []

    def _forget_after(self, meta_step: int) -> None:
        """Drops lines of meta-steps that will be taken again, and a line that a kill tore."""
        text = self._path.read_text() if self._path.exists() else ""
        kept = []
        for line in text.splitlines(keepends=True):
            with contextlib.suppress(ValueError):
                if json.loads(line)["meta_step"] <= meta_step and line.endswith("\n"):
                    kept.append(line)
        if "".join(kept) != text:
            runs.write_whole(self._path, "".join(kept))

    def add(self, metrics: reptile.MetaStepMetrics) -> None:
        """Notes meta-steps: `metrics` holds [times] of each."""
        columns = {name: values.numpy().tolist() for name, values in metrics.values.items()}
        rows = zip(*columns.values(), strict=True)
        self._pending += [dict(zip(columns, row, strict=True)) for row in rows]

    def write(
        self, meta_step: int, meta_steps_per_second: float | None, num_skipped: int
    ) -> dict[str, Any]:
        """Appends one line of means; of skipped meta-steps what is finite counts."""
        rows, self._pending = self._pending, []
        line: dict[str, Any] = {"meta_step": meta_step}
        for key in rows[0]:
            finite = [row[key] for row in rows if np.isfinite(row[key])]
            line[key] = float(np.mean(finite)) if finite else None
        line |= {"num_skipped": num_skipped, "meta_steps_per_second": meta_steps_per_second}
        self._append(line)
        return line

    def write_report(self, meta_step: int, report: dict[str, float]) -> None:
        """Appends a line about held-out tasks."""
        self._append({"meta_step": meta_step} | {f"held_out_{k}": v for k, v in report.items()})

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        with self._writing(line["meta_step"]):
            for key, value in line.items():
                if value is not None and key != "meta_step":
                    tf.summary.scalar(key, value)

    def write_picture(self, meta_step: int, picture) -> None:
        """Shows a picture of held-out tasks (PIL) in TensorBoard."""
        with self._writing(meta_step):
            tf.summary.image("held_out", np.asarray(picture)[None])

    @contextlib.contextmanager
    def _writing(self, meta_step: int) -> Iterator[None]:
        with _full_disk_is_an_os_error():
            with self._writer.as_default(step=meta_step):
                yield
            # At once: a kill would lose what TensorFlow holds back.
            self._writer.flush()


class Bystander:
    """Stands for the recorder in workers that write nothing."""

    def restore(self) -> None:
        """Brings back the newest checkpoint, if there is one."""

    def begin(self, signals: list[int]) -> contextlib.AbstractContextManager:
        """Around all meta-steps; what should stop them may be added to `signals`."""
        return contextlib.nullcontext()

    def count(self, metrics: reptile.MetaStepMetrics, meta_step: int) -> None:
        """Notes the meta-steps of one call as taken.

        Args:
            metrics: [times] each.
            meta_step: the number of the last of them.
        """

    def save(self) -> None:
        """Writes a checkpoint."""

    def draw_if_due(self, held_out: HeldOut, meta_step: int, signals: list[int]) -> None:
        """Shows held-out tasks every `eval_every` meta-steps and at the end, if not yet done."""


class Recorder(Bystander):
    """Writes one run folder."""

    def __init__(
        self,
        settings: TrainingSettings,
        folder: RunFolder,
        state: reptile.Reptile,
        identity: dict[str, Any],
        metric_labels: Mapping[str, str],
    ):
        self._settings, self._folder, self._state = settings, folder, state
        self._identity, self._metric_labels = identity, metric_labels

    def restore(self) -> None:
        """Brings the newest checkpoint back, after a look for what a killed save left."""
        checkpoints.sweep(self._folder.checkpoints)
        if checkpoints.restore_training(self._folder.checkpoints, self._state, self._identity):
            print(f"continuing at meta-step {self._state.num_meta_steps_taken()}", flush=True)

    @contextlib.contextmanager
    def begin(self, signals: list[int]) -> Iterator[None]:
        """Shows progress and keeps metrics until the end of the block.

        Raises:
            RunError: the disk is full, or the folder has gone.
        """
        self._signals = signals
        meta_step = self._state.num_meta_steps_taken()
        if meta_step < self._settings.num_meta_steps:
            print("building the graph of the first meta-step, about ten seconds", flush=True)
        total = self._settings.num_meta_steps
        self._progress = progress.Progress(meta_step, total, self._metric_labels)
        try:
            with contextlib.closing(self._progress):
                self._metrics = Metrics(self._folder, meta_step)
                self._forget_pictures_after(meta_step)
                yield
        except OSError as error:
            raise RunError(
                f"{self._folder.path}: {error.strerror or error} while writing metrics or"
                f" pictures. The last checkpoint is of meta-step"
                f" {self._folder.num_checkpointed_meta_steps()}; the same command continues from"
                f" it."
            ) from error

    def _forget_pictures_after(self, meta_step: int) -> None:
        """Those of meta-steps that will be taken again, whose reports `Metrics` has dropped."""
        for path in self._folder.grids.glob("step-*.png"):
            if path > self._folder.grid(meta_step):
                path.unlink()

    def count(self, metrics: reptile.MetaStepMetrics, meta_step: int) -> None:
        """Adds up metrics, writes a line of them when one is due, and shows progress."""
        self._metrics.add(metrics)
        self._progress.count_meta_steps(len(metrics.finite))
        line = None
        if meta_step % self._settings.log_every == 0 or self._is_last(meta_step):
            num_skipped = int(self._state.num_skipped.numpy())
            line = self._metrics.write(
                meta_step, self._progress.meta_steps_per_second(), num_skipped
            )
        self._progress.show(line)
        # A reader that went away ends any other command, too. This one saves first.
        if not self._progress.is_seen and signal.SIGPIPE not in self._signals:
            self._signals.append(signal.SIGPIPE)

    def save(self) -> None:
        """Writes a checkpoint of all that a continued run needs."""
        keep = self._settings.keep_checkpoints
        checkpoints.save(self._folder.checkpoints, self._state, self._identity, keep)

    def draw_if_due(self, held_out: HeldOut, meta_step: int, signals: list[int]) -> None:
        """Draws held-out tasks and reports on them, unless that picture is there already."""
        due = meta_step and (meta_step % self._settings.eval_every == 0 or self._is_last(meta_step))
        if not due or self._folder.grid(meta_step).exists():
            return
        drawn = []
        pictures = held_out.pictures()
        # A large network needs minutes for all tasks; whoever stops the run will not wait for that.
        while not signals and (picture := next(pictures, None)):
            drawn.append(picture)
        if signals:
            return
        if report := held_out.report():
            self._metrics.write_report(meta_step, report)
            self._progress.note(", ".join(f"{k} {v:.4g}" for k, v in report.items()))
        grid = image_grid.beside(drawn)
        self._metrics.write_picture(meta_step, grid)
        # Last and in one go, since this file says that all of it is done.
        path = self._folder.grid(meta_step)
        scratch = path.with_name(f".{path.name}")
        grid.save(scratch)
        os.replace(scratch, path)

    def _is_last(self, meta_step: int) -> bool:
        return meta_step == self._settings.num_meta_steps
