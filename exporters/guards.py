"""Checks within the graph.

A session checks neither the shape nor the value of what it is fed, so the graph has to.

Every check is a data dependency: what it guards is only reachable through it. A control dependency
beside the work would not stop the work. A failed check ends the request with INVALID_ARGUMENT and
the sentence given here.

TensorFlow takes shapes for proven and folds away checks that they seem to answer: the declared
shape of an input, and also what later operations ask of one (`tf.stack([m, 8])` makes m a scalar,
as far as Grappler is concerned). Hence the operation without a shape before the checks of a shape,
and the reshape or slice behind them.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf


def require(condition: tf.Tensor, sentence: str | tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """`value`, which exists only where `condition` (bool []) holds.

    `sentence` is ASCII and holds no user bytes.
    """
    with tf.control_dependencies([tf.debugging.Assert(condition, [sentence])]):
        return tf.identity(value)


def as_fed(value: tf.Tensor) -> tf.Tensor:
    """`value` without its declared shape."""
    return tf.raw_ops.PlaceholderWithDefault(input=value, shape=tf.TensorShape(None))


def _received(sentence: str, number: tf.Tensor) -> tf.Tensor:
    return tf.strings.join([sentence + " Received: ", tf.strings.as_string(number)])


def scalar(value: tf.Tensor, name: str, low: int, high: int) -> tf.Tensor:
    """An integer [] of low … high."""
    value = as_fed(value)
    value = tf.reshape(
        require(tf.equal(tf.rank(value), 0), f"{name} must be one number, without axes.", value), []
    )
    return require(
        (value >= low) & (value <= high),
        _received(f"{name} must be from {low} to {high}.", value),
        value,
    )


def vector(value: tf.Tensor, name: str, low: int, high: int) -> tf.Tensor:
    """[length] of any type, low ≤ length ≤ high."""
    value = as_fed(value)
    value = tf.reshape(
        require(tf.equal(tf.rank(value), 1), f"{name} must be a list, with one axis.", value), [-1]
    )
    length = tf.size(value)
    sentence = (
        f"{name} must hold {low} to {high} items."
        if low != high
        else f"{name} must hold {low} items."
    )
    # The slice cuts nothing off. It is what keeps the check of the length from being folded away.
    return require((length >= low) & (length <= high), _received(sentence, length), value)[:high]


def support_images(
    values: tf.Tensor,
    image_shape: Sequence[int],
    max_num_shots: int,
    max_num_tasks: int | None = None,
) -> tf.Tensor:
    """float32 [n, H, W, C], or [T, n, H, W, C] where `max_num_tasks` is given, all values in [0,
    1].
    """
    leading = (
        {"n": max_num_shots} if max_num_tasks is None else {"T": max_num_tasks, "n": max_num_shots}
    )
    return images(values, image_shape, leading, "support_images")


def images(
    values: tf.Tensor, image_shape: Sequence[int], leading: Mapping[str, int], name: str
) -> tf.Tensor:
    """float32 [*leading, H, W, C], all values in [0, 1].

    Args:
        leading: name of each axis before those of an image → its largest size.
        name: of the input.
    """
    form = f"{name} must be [{', '.join([*leading, *map(str, image_shape)])}]"
    values = as_fed(values)
    num_axes = len(leading) + 3
    values = require(
        tf.equal(tf.rank(values), num_axes), _received(form + " in axes.", tf.rank(values)), values
    )
    fits = tf.reduce_all(tf.equal(tf.shape(values)[-3:], tf.constant(image_shape, tf.int32)))
    values = require(fits, form + ": height, width or channels differ.", values)
    # Changes nothing: the reshape behind the checks, see the top of this file.
    values = tf.reshape(values, tf.concat([tf.shape(values)[:-3], image_shape], 0))
    for axis, (letter, most) in enumerate(leading.items()):
        count = tf.shape(values)[axis]
        sentence = _received(f"{form} with {letter} from 1 to {most}.", count)
        values = require((count >= 1) & (count <= most), sentence, values)
    # The check of the range would catch NaN too, and say something misleading about it.
    values = require(_all_finite(values), f"{name} must be finite numbers.", values)
    in_range = tf.reduce_all((values >= 0.0) & (values <= 1.0))
    return require(in_range, f"{name} must lie in [0, 1]: ink 0, paper 1.", values)


def labels(
    values: tf.Tensor, num_images: tf.Tensor, max_num_classes: int, max_num_shots: int
) -> tf.Tensor:
    """int32 [num_images]: the class of each support image, 0 … classes − 1, none left out."""
    values = as_fed(values)
    sentence = "labels must be a list of one number per support image."
    fits = tf.equal(tf.rank(values), 1) & tf.equal(tf.size(values), num_images)
    values = tf.reshape(require(fits, sentence, values), [-1])
    # Before they are counted: one label of 2³¹ − 1 would ask `bincount` for 8 GB.
    known = tf.reduce_all((values >= 0) & (values < max_num_classes))
    sentence = (
        f"labels must be from 0 to {max_num_classes - 1}, for 2 to {max_num_classes} classes."
    )
    values = require(known, _received(sentence, tf.reduce_max(values)), values)
    counts = tf.math.bincount(values)
    sentence = f"labels must name 2 to {max_num_classes} classes."
    values = require(tf.size(counts) >= 2, _received(sentence, tf.size(counts)), values)
    sentence = "labels leave a class without images: number the classes without a gap."
    values = require(tf.reduce_all(counts > 0), sentence, values)
    most = tf.reduce_max(counts)
    sentence = f"a class may have 1 to {max_num_shots} support images."
    return require(most <= max_num_shots, _received(sentence, most), values)


def delta(
    values: tf.Tensor, length: int, fingerprint: tf.Tensor, expected_fingerprint: int
) -> tf.Tensor:
    """float32 [length] of finite numbers that were made with this very model."""
    fingerprint = as_fed(fingerprint)
    # All of no numbers are equal to anything, so an empty list has to be refused by its size.
    matches = tf.reduce_all(tf.equal(fingerprint, tf.constant(expected_fingerprint, tf.int64)))
    values = require(
        matches & tf.equal(tf.size(fingerprint), 1),
        "fingerprint is of another model: call adapt again with this one.",
        as_fed(values),
    )
    values = vector(values, "generator_delta", length, length)
    # `vector` has lost the length, which whatever the weights enter should know.
    values.set_shape([length])
    return require(_all_finite(values), "generator_delta must be finite numbers.", values)


def finite_result(values: tf.Tensor) -> tf.Tensor:
    """`values` unless the adaptation has diverged."""
    return require(_all_finite(values), "the adaptation diverged: take fewer inner steps.", values)


def _all_finite(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(tf.math.is_finite(values))
