"""People tell generated drawings from real ones: a page for them, and the table of their answers.

  python -m serving.judge                                    # drawn glyphs, a demonstration
  python -m serving.judge --deck deck.npz --answers answers.jsonl
  python -m serving.judge --report answers.jsonl others.jsonl stand-in.jsonl --plot judged.png
  python -m serving.judge --power                            # how many answers are enough?

figr_tf.evaluate --write_deck makes decks.
"""

import pathlib

from figr_common import addresses, answers, decks
from figr_tf.core import console
from figr_tf.core.errors import UserError
from serving.judge_app import report

flags = console.OwnFlags(__name__)

GLYPHS = pathlib.Path(__file__).parent / "judge_app" / "glyphs.npz"

_DECK = flags.DEFINE_path(
    "deck", None, "Trials, from figr_tf.evaluate --write_deck. Default: drawn glyphs, which ship."
)
_ANSWERS = flags.DEFINE_path(
    "answers", None, "Append every answer to this file. Default: nothing is written."
)
_STAND_IN = flags.DEFINE_path(
    "stand_in", None, "Answers of figr_tf.evaluation.stand_in to the deck, to show beside people's."
)
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen at. There is no authentication: keep it local."
)
_PORT = flags.DEFINE_integer("port", 8081, "Port of the page; 0 takes a free one.", 0, 65535)
_REPORT = flags.DEFINE_path(
    "report", None, "Print the table of this file of answers and of all that follow it, and stop."
)
_PLOT = flags.DEFINE_path("plot", None, "With --report: draw the table here, a .png.")
_POWER = flags.DEFINE_bool(
    "power", False, "Print how many answers tell a share from 50 %, and stop."
)


def _read(names: list[str]) -> list[answers.Answer]:
    try:
        return answers.merged([answers.read(pathlib.Path(name)) for name in names])
    except answers.AnswersError as error:
        raise UserError(str(error)) from error


def _report(names: list[str], plot: str | None) -> None:
    if plot:
        console.check_output(plot)
    given = _read(names)
    if not given:
        raise UserError(f"{names[0]}: there are no answers in it.")
    print(report.table(given))
    if plot:
        report.plot(given, pathlib.Path(plot))


def _deck() -> decks.Deck:
    try:
        return decks.read(pathlib.Path(_DECK.value or GLYPHS))
    except decks.DeckError as error:
        raise UserError(str(error)) from error


def _stand_in(deck: decks.Deck) -> list[answers.Answer]:
    if not _STAND_IN.value:
        return []
    given = [answer for answer in _read([_STAND_IN.value]) if answer.deck == deck.digest]
    if not given:
        raise UserError(f"{_STAND_IN.value}: holds no answers to this deck.")
    return given


def _kind(demonstration: bool) -> str:
    return "drawn glyphs" if demonstration else "drawings by people's hands"


def _serve(deck: decks.Deck) -> None:
    from serving.judge_app import server
    from serving.judge_app.games import Games
    from serving.pages.site import AddressTakenError

    file = pathlib.Path(_ANSWERS.value).resolve() if _ANSWERS.value else None
    if file:
        file.open("a").close()  # A file that cannot be written shows before anybody has played.
    former = _read([str(file)]) if file else []
    if any(answer.demonstration != deck.facts["demonstration"] for answer in former):
        # Together they could not be reported, see `answers.merged`.
        raise UserError(
            f"{file}: holds answers to a deck of {_kind(not deck.facts['demonstration'])}, and this"
            f" one is of {_kind(deck.facts['demonstration'])}. Name another file."
        )
    judge = server.Judge(
        # Games that were begun before a restart go on, from the answers in the file.
        Games(deck, file, former),
        _stand_in(deck),
        # On another address than loopback anybody may ask, so less is told.
        public=not addresses.is_loopback(_HOST.value),
    )
    try:
        server.serve(judge, _HOST.value, _PORT.value)
    except AddressTakenError as error:
        raise UserError(str(error)) from error


def main(names: list[str]) -> None:
    """Serves the judge's page, or reports on its answers."""
    if names and not _REPORT.value:
        raise UserError(f"unexpected argument {names[0]!r}; files of answers go with --report")
    if _PLOT.value and not _REPORT.value:
        raise UserError("--plot goes with --report.")
    if _REPORT.value:
        _report([_REPORT.value, *names], _PLOT.value)
    elif _POWER.value:
        deck = _deck()
        print(report.power_table(len(deck.facts["sources"]), decks.ROUND))
    else:
        _serve(_deck())


if __name__ == "__main__":
    console.run_with_names(main)
