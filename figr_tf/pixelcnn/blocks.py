"""A drawing as blocks of 2×2 pixels, each with one of 16 patterns."""

import numpy as np
import tensorflow as tf

BLOCK = 2  # Height and width of a block.
NUM_PATTERNS = 2 ** (BLOCK * BLOCK)
CHANNELS = BLOCK * BLOCK + 1  # The pixels of a block, and a 1 that tells paper from outside.


def inputs_of(images: tf.Tensor) -> tf.Tensor:
    """[B, H, W] of 0 and 1 → [B, H/2, W/2, 5]: each block's pixels, and a 1."""
    blocks = tf.nn.space_to_depth(images[..., tf.newaxis], BLOCK)
    return tf.concat([blocks, tf.ones_like(blocks[..., :1])], -1)


def patterns(images: tf.Tensor) -> tf.Tensor:
    """[B, S, S] of 0 and 1 → the pattern of each block, int32 [B, g, g] below 16."""
    places = 2 ** np.arange(BLOCK * BLOCK, dtype=np.int32)
    blocks = tf.nn.space_to_depth(images[..., tf.newaxis], BLOCK)
    return tf.reduce_sum(tf.cast(blocks, tf.int32) * places, -1)


def images_of(patterns: tf.Tensor) -> tf.Tensor:
    """The inverse of `patterns`: float32 [B, S, S]."""
    places = 2 ** np.arange(BLOCK * BLOCK, dtype=np.int32)
    bits = tf.bitwise.bitwise_and(patterns[..., tf.newaxis], places) > 0
    return tf.nn.depth_to_space(tf.cast(bits, tf.float32), BLOCK)[..., 0]
