"""How often a classifier is right on held-out tasks, with intervals; interrupted ones go on."""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import filelock
import numpy as np

from figr_tf.classifier.episodes import Drawings, Episode, held_out_episode
from figr_tf.classifier.model import ClassifierModel
from figr_tf.classifier.prediction import Accuracy, num_right
from figr_tf.core import progress
from figr_tf.core.errors import UserError
from figr_tf.core.interruption import Interrupted, signals_noted
from figr_tf.core.random import EVALUATION, stateless_seed
from figr_tf.core.runs import write_whole

METHODS = ("plain", "transductive", "unadapted")  # The names in `prediction.Answers`.
# To be raised whenever the same weights answer otherwise than before, so that answers on disk that
# other code gave are not taken for today's.
_ANSWERS_AS = 1


class Plan(NamedTuple):
    """Held-out tasks.

    Attributes:
        num_classes, num_shots: of a task; each has one query of every class.
        seed: of the tasks and of the order in which inner steps see them.
    """

    num_classes: int
    num_shots: int
    num_tasks: int
    seed: int

    def episodes(self, drawings: Drawings) -> list[Episode]:
        """The tasks; the first ones of a longer plan are those of a shorter one."""
        form = self.num_classes, self.num_shots, self.seed
        return [held_out_episode(drawings, *form, number) for number in range(self.num_tasks)]


class _Record:
    """Results on disk, a line a task, so that a killed evaluation loses no task.

    Raises:
        UserError: another process is writing them.
    """

    def __init__(self, folder: pathlib.Path, facts: Mapping[str, Any]):
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        self._path = folder / f"classifier-{key}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        # Lines of two processes would be out of order, and lost when they are next read.
        self._lock = filelock.FileLock(folder / f".classifier-{key}.lock", blocking=False)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise UserError(
                f"{self._path}: another process is evaluating the same. Wait for it, or stop it."
            ) from error
        self.lines: list[dict[str, int]] = []
        if self._path.exists():
            text = self._path.read_text(errors="replace")
            for line in text.splitlines():
                if not self._is_next(line):
                    break
                self.lines.append(json.loads(line))
            # What was torn is taken off the file too, or the next line would be written onto it.
            if text != (whole := "".join(map(_line, self.lines))):
                write_whole(self._path, whole)

    def _is_next(self, line: str) -> bool:
        """Whether it is whole: a kill tears the last line, a bad disk any."""
        try:
            entry = json.loads(line)
            return entry["task"] == len(self.lines) and set(METHODS) <= set(entry)
        except (ValueError, KeyError, TypeError):
            return False

    def close(self) -> None:
        """Lets others write."""
        self._lock.release()

    def add(self, num_right: dict[str, int]) -> None:
        self.lines.append({"task": len(self.lines)} | num_right)
        # Opened and closed for each task: what is written survives a kill of this process.
        with self._path.open("a") as file:
            file.write(_line(self.lines[-1]))


def _line(entry: dict[str, int]) -> str:
    return json.dumps(entry) + "\n"


def evaluate(
    model: ClassifierModel, drawings: Drawings, plan: Plan, folder: pathlib.Path
) -> dict[str, np.ndarray]:
    """Right answers of each task, int [T] by the names in `METHODS`.

    Args:
        folder: where the answers are kept, such as the run's own.

    Raises:
        Interrupted: SIGTERM or Ctrl-C came; the next evaluation goes on from there.
        UserError: another process is evaluating the same.
    """
    settings = model.settings
    facts = plan._asdict() | {
        "answers_as": _ANSWERS_AS,
        "weights_sha256": model.weights_sha256,
        "eval_batch_size": settings.eval_batch_size,
        "eval_inner_steps": settings.eval_inner_steps,
        "pixels_sha256": hashlib.sha256(drawings.pixels.tobytes()).hexdigest(),
    }
    del facts["num_tasks"]  # A longer evaluation goes on where a shorter one ended.
    label = f"{model.folder.name}, {plan.num_shots}-shot"
    with (
        contextlib.closing(_Record(folder / "evaluation", facts)) as record,
        signals_noted() as signals,
    ):
        todo = plan.episodes(drawings)[len(record.lines) :]
        for episode in progress.track(todo, label, "tasks"):
            number = len(record.lines)
            record.add(_num_right(model, drawings, episode, plan.seed, number))
            # After the record, so that a stop loses no task.
            if signals:
                raise Interrupted(signals[0], f"task {number + 1} of {plan.num_tasks}")
    lines = record.lines[: plan.num_tasks]
    return {name: np.array([line[name] for line in lines]) for name in METHODS}


def _num_right(
    model: ClassifierModel,
    drawings: Drawings,
    episode: Episode,
    seed: int,
    number: int,
) -> dict[str, int]:
    answers = model.answer(
        drawings.pixels[episode.support],
        drawings.pixels[episode.queries],
        stateless_seed(seed, EVALUATION, number),
    )
    return {name: num_right(getattr(answers, name).numpy()) for name in METHODS}


class Table(NamedTuple):
    """Rows of accuracies.

    Attributes:
        columns: such as "5-way 1-shot".
        rows: name → an accuracy for each column.
    """

    columns: list[str]
    rows: dict[str, list[Accuracy]]

    def to_markdown(self) -> str:
        """For people; per cent."""
        lines = ["| | " + " | ".join(self.columns) + " |", "|---" * (len(self.columns) + 1) + "|"]
        for name, cells in self.rows.items():
            lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
        return "\n".join(lines)


def over_runs(per_run: Iterable[Accuracy]) -> Accuracy:
    """Mean of the runs' accuracies, and half the distance between the lowest and the highest."""
    means = [accuracy.mean for accuracy in per_run]
    return Accuracy(float(np.mean(means)), (max(means) - min(means)) / 2)
