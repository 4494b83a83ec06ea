"""What needs no adaptation, on the same held-out tasks: nearest prototypes and cosine matching."""

from collections.abc import Callable, Sequence

import numpy as np

from figr_tf.classifier.episodes import Episode

# Features of the support [classes, shots, d] and of the queries [Q, d] → class of each, int [Q].
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


def prototypes(support: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The class whose mean is nearest, as in Snell et al. 2017 (arXiv:1703.05175)."""
    distances = np.square(queries[:, np.newaxis] - support.mean(1)).sum(-1)
    return distances.argmin(-1)


def matching(support: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The class with most of a softmax over cosines (Vinyals et al. 2016, arXiv:1606.04080)."""
    cosines = np.einsum("qd,csd->qcs", _unit(queries), _unit(support))
    # The softmax is over all support images of all classes. Its denominator is the same for every
    # class, so it is left out.
    return np.exp(cosines).sum(-1).argmax(-1)


def _unit(features: np.ndarray) -> np.ndarray:
    # All features may be 0: of a black image, or behind a ReLU.
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)


def num_right(method: Method, features: np.ndarray, episodes: Sequence[Episode]) -> np.ndarray:
    """int [T]: of each task, how many queries get their class.

    Args:
        features: [N, d], by the indices in the episodes.
    """
    counts = []
    for support, queries in episodes:
        answers = method(features[support], features[queries])
        counts.append(np.sum(answers == np.arange(len(queries))))
    return np.array(counts)
