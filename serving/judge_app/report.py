"""What came of the answers: shares with exact intervals, as rows, as a table, as a plot."""

import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from figr_common import binomial
from figr_common.answers import PERSON, STAND_IN, Answer
from figr_common.decks import REAL

_CLEAREST = 0.75  # Shares up to which the power is told.
_COLUMNS = {PERSON: "people", STAND_IN: "stand-in: a network, no people"}


class Score(NamedTuple):
    """How often the generated group was named.

    Attributes:
        right: answers that named it.
        total: answers in all.
        low, high: the exact 95 % interval of the share.
        seconds: the median; None where no time was taken.
    """

    right: int
    total: int
    low: float
    high: float
    seconds: float | None

    @property
    def share(self) -> float:
        """Of right answers, from 0 to 1."""
        return self.right / self.total


def scores(answers: Iterable[Answer]) -> dict[str, Score]:
    """By source: the real drawings first, for comparison, then the hardest to tell first."""
    by_source: dict[str, list[Answer]] = {}
    for answer in answers:
        by_source.setdefault(answer.source, []).append(answer)
    scored = {source: score(given) for source, given in by_source.items()}

    def rank(source: str) -> tuple[bool, float, str]:
        return source != REAL, scored[source].share, source

    return {source: scored[source] for source in sorted(scored, key=rank)}


def score(answers: Sequence[Answer]) -> Score:
    """Of at least one answer."""
    right = sum(answer.is_right for answer in answers)
    times = [answer.seconds for answer in answers if answer.seconds is not None]
    low, high = binomial.interval(right, len(answers))
    return Score(right, len(answers), low, high, statistics.median(times) if times else None)


def _by_player(answers: Iterable[Answer]) -> dict[str, dict[str, Score]]:
    given = list(answers)
    return {p: scores(answer for answer in given if answer.player == p) for p in _COLUMNS}


def table(answers: Sequence[Answer]) -> str:
    """Markdown: a line for each source, people and stand-in side by side."""
    # People set the order of the lines; what only the stand-in has judged follows.
    columns = _by_player(answers)
    sources = list(columns[PERSON]) + [s for s in columns[STAND_IN] if s not in columns[PERSON]]
    lines = [
        "| told apart from real drawings | people | median time | stand-in: a network, no people |",
        "|---|---|---|---|",
    ]
    for source in sources:
        person, stand_in = (columns[p].get(source) for p in (PERSON, STAND_IN))
        time = f"{person.seconds:.1f} s" if person and person.seconds is not None else "–"
        lines.append(f"| {source} | {_cell(person)} | {time} | {_cell(stand_in)} |")
    games = {(a.deck, a.game) for a in answers if a.player == PERSON}
    lines += [
        "",
        f"Games that people played: {len(games)}. Percentages with exact 95 % intervals"
        " (Clopper–Pearson); 50 % is not told apart.",
    ]
    return "\n".join(lines)


def _cell(result: Score | None) -> str:
    if result is None:
        return "–"
    interval = f"[{100 * result.low:.0f}, {100 * result.high:.0f}]"
    return f"{100 * result.share:.0f} % {interval} of {result.total}"


def plot(answers: Sequence[Answer], path: pathlib.Path) -> None:
    """The same as a picture: a point and its interval for each source and kind of player."""
    from matplotlib.figure import Figure  # Here, since it takes a second to import.

    columns = _by_player(answers)
    sources = list(dict.fromkeys([*columns[PERSON], *columns[STAND_IN]]))
    figure = Figure(figsize=(7, 1.2 + 0.6 * len(sources)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(50, color="0.6", linewidth=1, linestyle="--")
    looks = {PERSON: ("C0", "o", -0.1), STAND_IN: ("C1", "D", 0.1)}
    for player, (colour, marker, shift) in looks.items():
        for i, (source, result) in enumerate(columns[player].items()):
            y = sources.index(source) + shift
            ends = [100 * result.low, 100 * result.high]
            axes.plot(ends, [y, y], colour, linewidth=2, clip_on=False)
            label = _COLUMNS[player] if not i else None
            axes.plot(100 * result.share, y, marker, color=colour, label=label, clip_on=False)
    axes.set(xlim=(0, 100), xlabel="told apart from real drawings, % (50: not told apart)")
    axes.set_yticks(range(len(sources)), sources)
    axes.set_ylim(len(sources) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120)


def power_table(sources: int, trials: int) -> str:
    """How many answers tell a share from 50 %, and how many games that is.

    Args:
        sources: that share the `trials` of a game evenly.
    """
    lines = [
        "| told apart in the long run | answers, power 80 % | games | answers, 90 % | games |",
        "|---|---|---|---|---|",
    ]
    for percent in (55, 60, 65, 70, round(100 * _CLEAREST)):
        cells = []
        for wanted in (0.8, 0.9):
            needed = binomial.answers_needed(percent / 100, wanted)
            # Games are rounded up: one has `trials / sources` answers about each source.
            cells += [str(needed), str(-(-needed * sources // trials))]
        lines.append(f"| {percent} % | {' | '.join(cells)} |")
    return "\n".join(lines)
