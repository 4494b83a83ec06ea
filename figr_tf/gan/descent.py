"""How an inner step moves weights that are no variables: plain SGD, or Adam without momentum."""

import tensorflow as tf

_ADAM_BETA_2, _ADAM_EPSILON = 0.99, 1e-8


def descend(
    tape: tf.GradientTape,
    loss: tf.Tensor,
    weights: tuple[tf.Tensor, ...],
    second_moments: tuple[tf.Tensor, ...],
    rate: float,
    step_number: tf.Tensor,
) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
    """One step of SGD, or of Adam where there are second moments.

    Args:
        tape: has seen `loss` come from the weights.
        second_moments: averages of squared gradients, shaped as the weights; empty for SGD.
        step_number: int32 [], from 1 on.

    Returns:
        The weights and the second moments after the step.
    """
    if not second_moments:
        # The rate enters where the gradient starts, and so costs nothing per weight.
        updates = tape.gradient(loss, weights, output_gradients=tf.constant(rate))
        return tuple(w - u for w, u in zip(weights, updates, strict=True)), ()
    gradients = tape.gradient(loss, weights)
    # Kingma & Ba 2015, algorithm 1 with β1 = 0: the first moment is the gradient itself.
    correction = 1.0 / (1.0 - tf.pow(_ADAM_BETA_2, tf.cast(step_number, tf.float32)))
    moments = tuple(
        _ADAM_BETA_2 * v + (1.0 - _ADAM_BETA_2) * tf.square(g)
        for v, g in zip(second_moments, gradients, strict=True)
    )
    moved = tuple(
        w - rate * g / (tf.sqrt(v * correction) + _ADAM_EPSILON)
        for w, g, v in zip(weights, gradients, moments, strict=True)
    )
    return moved, moments
