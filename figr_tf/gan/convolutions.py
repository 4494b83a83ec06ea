"""Convolutions that keep an image's size, and two that give the sums of others in less time.

x is [B, H, W, C_in], a kernel [k, k, C_in, C_out], a bias [C_out]; all are float32.
"""

import numpy as np
import tensorflow as tf


def plain(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, strides: int = 1) -> tf.Tensor:
    """→ [B, H, W, C_out], or height and width divided by `strides`."""
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides=strides, padding="SAME"), bias)


def of_upsampled(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`plain` with a 3×3 kernel, of x with every pixel repeated 2×2: → [B, 2H, 2W, C_out].

    As one transposed convolution, which has four products where the two have nine.
    """
    _, height, width, _ = x.shape
    # A pixel reaches 4×4 others, each through all those taps that meet one of its four copies. A
    # transposed convolution has its kernel the other way round, and as [.., out, in].
    reach = tf.reverse(_placed(kernel, _shifts(3).sum(0)), [0, 1])
    shape = [tf.shape(x)[0], 2 * height, 2 * width, kernel.shape[-1]]
    spread = tf.nn.conv2d_transpose(x, tf.transpose(reach, [0, 1, 3, 2]), shape, 2, "SAME")
    return tf.nn.bias_add(spread, bias)


def in_blocks(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`plain` with a 5×5 kernel, of an even height and width, in blocks of 2×2 pixels.

    To few channels it takes half of the time on a CPU, whose registers those fill badly.
    """
    # The four pixels of a block see the kernel from four places; each is a channel of its own.
    places = tf.transpose(_placed(kernel, _shifts(5)), [0, 4, 1, 2, 3])
    places = tf.reshape(places, [-1, *places.shape[2:]])
    block_kernel = tf.transpose(tf.nn.space_to_depth(places, 2), [1, 2, 3, 0])
    blocks = tf.nn.conv2d(tf.nn.space_to_depth(x, 2), block_kernel, 1, "SAME")
    return tf.nn.bias_add(tf.nn.depth_to_space(blocks, 2), bias)


def _shifts(size: int) -> np.ndarray:
    """0 and 1, [4, size + 1, size + 1, size²]: a kernel's taps on the four places of a frame that
    is larger by 1.
    """
    taps = np.eye(size**2, dtype=np.float32).reshape([size, size, size**2])
    return np.stack(
        [
            np.pad(taps, [(top, 1 - top), (left, 1 - left), (0, 0)])
            for top in (0, 1)
            for left in (0, 1)
        ]
    )


def _placed(kernel: tf.Tensor, shifts: np.ndarray) -> tf.Tensor:
    """`shifts` [.., k²] of a kernel [k, k, C_in, C_out]: → [.., C_in, C_out].

    A product, also where it could be a sum of padded kernels: Grappler adds up the terms of a sum
    in an order that depends on the graph around it, and the inner loop magnifies rounding.
    """
    return tf.tensordot(shifts, tf.reshape(kernel, [-1, *kernel.shape[2:]]), 1)
