"""Makes decks for `serving.judge` from the protocol's episodes."""

import zlib
from collections.abc import Mapping

import numpy as np

from figr_common.decks import REAL, ROUND, Deck
from figr_tf.core import progress
from figr_tf.core.errors import UserError
from figr_tf.evaluation.episodes import choose_classes, draw_episode
from figr_tf.evaluation.sources import Source

NUM_SHOTS = 4
GROUP = 8  # Drawings on a side; of Omniglot's 20, four are the support and two groups are left.


def make(
    classes: Mapping[str, np.ndarray],
    sources: Mapping[str, Source],
    num_trials: int,
    seed: int,
    facts: dict,
) -> Deck:
    """As many trials of each source on each side, in every round, in random order.

    Args:
        classes: name → all of its drawings, uint8 [count ≥ 20, S, S, 1].
        num_trials: a multiple of `ROUND`; each takes a class of its own, so that nobody learns the
            real drawings of one trial by heart and finds them in another.
        sources: name → what real drawings are to be told from.
        seed: of classes, drawings and order.
        facts: data and demonstration, see `Deck`.

    Raises:
        UserError: numbers that do not fit.
    """
    if num_trials % ROUND or not 0 < num_trials <= len(classes):
        raise UserError(
            f"--deck_trials={num_trials}: need a multiple of {ROUND}, and a class for each trial;"
            f" there are {len(classes)} classes."
        )
    if ROUND % (2 * len(sources)):
        raise UserError(
            f"{len(sources)} sources do not share {ROUND} trials and two sides evenly:"
            " give two models with --deck_models."
        )
    names = choose_classes(classes, num_trials, seed)
    # 17 is any number: a stream of its own, apart from the episodes'.
    rng = np.random.default_rng([seed, 17])
    rng.shuffle(names)
    rounds = [_round(list(sources), rng) for _ in range(num_trials // ROUND)]
    trials = [trial for one in rounds for trial in one]
    parts = []
    named = list(zip(names, trials, strict=True))
    for name, (source, side) in progress.track(named, "drawing", "trials"):
        parts.append(_trial(name, classes[name], source, sources[source], side, seed))
    support, groups = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    told = {"sources": {name: source.about for name, source in sources.items()}, "seed": seed}
    source_names, sides = zip(*trials, strict=True)
    return Deck(
        support=support,
        groups=groups,
        sources=np.array(source_names),
        classes=np.array(names),
        answers=np.array(sides, np.uint8),
        facts=facts | told,
    )


def _round(sources: list[str], rng: np.random.Generator) -> list[tuple[str, int]]:
    """Source and generated side of each trial of a round."""
    times = ROUND // (2 * len(sources))
    trials = [(source, side) for source in sources for side in (0, 1) for _ in range(times)]
    return [trials[i] for i in rng.permutation(ROUND)]


def _trial(
    name: str, drawings: np.ndarray, label: str, source: Source, side: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Support [n, S, S] and both groups [2, GROUP, S, S], each in random order."""
    episode = draw_episode(name, len(drawings), NUM_SHOTS, seed)
    if min(len(episode.reference), len(episode.held_out)) < GROUP:
        raise UserError(
            f"class {name}: {len(drawings)} drawings; {NUM_SHOTS + 2 * GROUP} are needed."
        )
    # A seed of the class' own: with one for all, a generator would use the same latents everywhere.
    own_seed = zlib.crc32(f"{seed} {name} {label}".encode())
    rng = np.random.default_rng(own_seed)
    generated = source.draw(drawings, episode, GROUP, own_seed)
    # The real group of a trial of real against real is R; elsewhere it is H, as in the protocol.
    real = drawings[(episode.reference if label == REAL else episode.held_out)[:GROUP]]
    groups = [rng.permutation(group) for group in (real, generated)]
    # The real group comes first, so that the generated one is on side 1; on side 0 it is turned.
    groups = groups if side else groups[::-1]
    return drawings[episode.support][..., 0], np.stack(groups)[..., 0]
