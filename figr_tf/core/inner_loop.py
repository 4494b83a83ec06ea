"""The shape of all inner loops: K steps in a row, on weights that are no variables."""

from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

State = TypeVar("State")


def repeat(
    take_step: Callable[[tf.Tensor, State], State],
    state: State,
    count: int | tf.Tensor,
    first: int | tf.Tensor = 0,
) -> State:
    """Takes the steps `first` … `first + count − 1`: state ← take_step(k, state).

    Args:
        take_step: called with int32 [] k and the state; it returns a state of the same structure.
        state: nested tensors.
        count: K ≥ 0; 0 returns `state`.
        first: k of the first step, where a state goes on from earlier steps.

    Returns:
        The state after the last step.
    """
    first = tf.convert_to_tensor(first, tf.int32)
    last = first + tf.convert_to_tensor(count, tf.int32)
    # One step at a time: its operations fill the cores, and order is part of the algorithm.
    _, state = tf.while_loop(
        lambda k, _: k < last,
        lambda k, state: (k + 1, take_step(k, state)),
        (first, state),
        parallel_iterations=1,
    )
    return state
