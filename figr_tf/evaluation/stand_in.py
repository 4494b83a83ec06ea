"""The automatic stand-in for people: networks trained to tell real from generated play a deck.

  python -m figr_tf.evaluation.stand_in --deck=deck.npz --data_dir=DIR --out=stand-in.jsonl

For each source, small networks learn on background characters five times, each time without a fifth
of them. On that fifth they are tested, then all of them play the deck together. The answers go into
the table of serving.judge --report beside those of people.
"""

import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from figr_common import binomial, decks
from figr_common.answers import SIDES, STAND_IN, Answer
from figr_tf.core import console, progress
from figr_tf.core.errors import UserError
from figr_tf.data import datasets

flags = console.OwnFlags(__name__)

_DECK = flags.DEFINE_path("deck", None, "Deck to play, from figr_tf.evaluate --write_deck.")
_DATA_DIR = flags.DEFINE_path(
    "data_dir", None, "Folder of Omniglot's files. Default: through tensorflow-datasets."
)
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_MODELS = flags.DEFINE_list(
    "models", ["omniglot-32", "omniglot-32-redraw"], "The deck's models, as --deck_models."
)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 60, "Background characters to learn from.", 5)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of drawings, samples and networks.", 0)
_OUT = flags.DEFINE_path("out", None, "Write the answers here, one JSON line each.")

FOLDS = 5
_SAMPLES = 16  # Of each source and class, as many as a class of Omniglot has drawings to compare.


class Examples(NamedTuple):
    """`views` of one class, float32 [·, S, S, 2]; a trial has the first `GROUP` of each."""

    real: np.ndarray
    generated: np.ndarray


def examples_of(
    name: str, drawings: np.ndarray, sources: Mapping, seed: int
) -> Iterator[tuple[str, Examples]]:
    """What each source makes of one class, and the real drawings to tell it from, by source.

    Args:
        drawings: uint8 [count, S, S, 1]. sources: name → `sources.Source`.
    """
    # Here and below: what imports TensorFlow waits until --help is dealt with.
    from figr_tf.evaluation.deck import NUM_SHOTS
    from figr_tf.evaluation.episodes import draw_episode
    from figr_tf.evaluation.telling import views

    episode = draw_episode(name, len(drawings), NUM_SHOTS, seed)
    # A seed for each class; with one for all, every class would get the same latents.
    own_seed = zlib.crc32(f"{seed} {name}".encode())
    support = drawings[episode.support][..., 0]
    for label, source in sources.items():
        generated = source.draw(drawings, episode, _SAMPLES, own_seed)
        real = [episode.reference]
        if label != decks.REAL:  # There H is what is called generated.
            real = [episode.held_out, episode.reference]
        yield (
            label,
            Examples(
                views(drawings[np.concatenate(real)][..., 0], support),
                views(generated[..., 0], support),
            ),
        )


def cross_validated(examples: list[Examples], seed: int) -> tuple[list, list[bool]]:
    """What each fold learned, and for each class whether the fold that has not seen it is right."""
    from figr_tf.evaluation.deck import GROUP
    from figr_tf.evaluation.telling import learn

    # Folds of characters and not of drawings, or a network could know the strokes by heart.
    fold = np.random.default_rng([seed, FOLDS]).permutation(len(examples)) % FOLDS
    tellers, is_right = [], []
    for k in range(FOLDS):
        known = [example for example, f in zip(examples, fold, strict=True) if f != k]
        real, generated = zip(*known, strict=True)
        tellers.append(learn(real, generated, seed=100 * seed + k))
        for example in (e for e, f in zip(examples, fold, strict=True) if f == k):
            looks = [tellers[-1](side[:GROUP]).mean() for side in example]
            is_right.append(bool(looks[1] > looks[0]))
    return tellers, is_right


def answers_to(deck: decks.Deck, tellers: Mapping[str, list], seed: int) -> list[Answer]:
    """Names the side of each trial that its source's networks find more generated."""
    from figr_tf.evaluation.telling import views

    answers = []
    for trial, source in enumerate(map(str, deck.sources)):
        seen = [views(group, deck.support[trial]) for group in deck.groups[trial]]
        looks = [np.mean([teller(side) for teller in tellers[source]]) for side in seen]
        answers.append(
            Answer(
                deck=deck.digest,
                demonstration=deck.facts["demonstration"],
                player=STAND_IN,
                game=f"{STAND_IN}, seed {seed}",
                trial=trial,
                character=str(deck.classes[trial]),
                source=source,
                generated=SIDES[deck.answers[trial]],
                answer=SIDES[int(looks[1] > looks[0])],
                seconds=None,
            )
        )
    return answers


def _table(tested: Mapping[str, list[bool]], played: list[Answer]) -> str:
    lines = ["| source | background characters, 5-fold | the deck's characters |", "|---|---|---|"]
    for source, is_right in tested.items():
        on_deck = [answer.is_right for answer in played if answer.source == source]
        lines.append(f"| {source} | {_cell(is_right)} | {_cell(on_deck)} |")
    return "\n".join(lines)


def _cell(is_right: list[bool]) -> str:
    low, high = binomial.interval(sum(is_right), len(is_right))
    share = 100 * np.mean(is_right)
    return f"{share:.0f} % [{100 * low:.0f}, {100 * high:.0f}] of {len(is_right)}"


def _read_deck() -> decks.Deck:
    if not _DECK.value:
        raise UserError("--deck: name a file of figr_tf.evaluate --write_deck.")
    if _OUT.value:
        console.check_output(_OUT.value, (".jsonl",))
    try:
        return decks.read(pathlib.Path(_DECK.value))
    except decks.DeckError as error:
        raise UserError(str(error)) from error


def _background(deck: decks.Deck) -> dict[str, np.ndarray]:
    from figr_tf.evaluation.episodes import choose_classes

    # The demonstration is of glyphs, which is what settings name where nothing is said.
    settings = datasets.DataSettings(image_size=deck.support.shape[-1])
    if not deck.facts["demonstration"]:
        settings = datasets.DataSettings(
            "omniglot", _DATA_DIR.value, deck.support.shape[-1], cache_dir=_CACHE_DIR.value
        )
    dataset = datasets.load_dataset(settings, num_shots=20)
    return dataset.images_of(choose_classes(dataset.split.training, _NUM_CLASSES.value))


def main() -> None:
    """Judges the deck and prints what came out."""
    deck = _read_deck()
    console.start_tensorflow()
    from figr_tf.evaluation import sources

    classes = _background(deck)
    chosen = sources.choose(_MODELS.value, (*deck.support.shape[2:], 1))
    # The trials of such a source would have no network to answer them.
    if missing := sorted(set(map(str, deck.sources)) - set(chosen)):
        raise UserError(f"{_DECK.value}: has drawings of {missing[0]}; name it with --models.")
    if idle := sorted(set(chosen) - set(map(str, deck.sources))):
        raise UserError(f"{_DECK.value}: has no drawings of {idle[0]}. Leave it out of --models.")
    examples: dict[str, list[Examples]] = {name: [] for name in chosen}
    for name, drawings in progress.track(list(classes.items()), "drawing", "characters"):
        for source, example in examples_of(name, drawings, chosen, _SEED.value):
            examples[source].append(example)
    tellers, tested = {}, {}
    for source in progress.track(list(examples), "learning", "sources"):
        tellers[source], tested[source] = cross_validated(examples[source], _SEED.value)
    played = answers_to(deck, tellers, _SEED.value)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text("".join(answer.line() for answer in played))
    print(_table(tested, played), flush=True)


if __name__ == "__main__":
    console.run(main)
