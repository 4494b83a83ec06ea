"""What stands at a place: what it costs, how it is drawn, and how the baseline sees it.

Logits are [T, C], or [T, 1] of two classes (`networks.logits`).
Classes are float32 [T] of 0 … C − 1.
"""

import tensorflow as tf


def cost(seen: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """[T], −ln of the probability of the classes that were seen."""
    if logits.shape[1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=seen, logits=logits[:, 0])
    return tf.nn.softmax_cross_entropy_with_logits(as_input(seen, logits.shape[1]), logits)


def drawn(logits: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Classes drawn by random numbers, [T], uniform in [0, 1).

    Of two classes the second where the number is below its probability; of several the first that
    all probabilities up to it add up to more than the number.
    """
    if logits.shape[1] == 1:
        return tf.cast(uniform < tf.sigmoid(logits[:, 0]), tf.float32)
    # Without the last sum: rounded it may be below 1, and below a number.
    sums = tf.cumsum(tf.nn.softmax(logits), axis=1)[:, :-1]
    return tf.reduce_sum(tf.cast(sums <= uniform[:, tf.newaxis], tf.float32), 1)


def as_input(seen: tf.Tensor, num_logits: int) -> tf.Tensor:
    """[T, 1] of two classes as they are, [T, C] of several one-hot."""
    if num_logits == 1:
        return seen[:, tf.newaxis]
    return tf.one_hot(tf.cast(seen, tf.int32), num_logits)
