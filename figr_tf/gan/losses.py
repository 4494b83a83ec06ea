"""Adversarial losses and the gradient penalty.

All are pure functions of scores [B, 1] and gradients to one number. Signs are as in WGAN: the
discriminator scores real images high. The released code of 2018 scores them low. Both give the same
training up to the sign of the scores; tests/gan/test_losses.py shows it.

To add a loss, add its name to `LOSSES`, a branch to both functions, and what CONTRIBUTING.md lists.
"""

from collections.abc import Callable

import tensorflow as tf

LOSSES = ("wasserstein", "bce")
GRADIENT_PENALTY_NORMS = ("image", "pixel")
# Under the root of the norm. Without it the root has an infinite slope where the discriminator is
# flat, and NaN follows.
_NORM_EPSILON = 1e-12


def discriminator_loss(loss: str, real_scores: tf.Tensor, generated_scores: tf.Tensor) -> tf.Tensor:
    """What the discriminator descends, [], without the penalty.

    "wasserstein": mean D(generated) − mean D(real) (Arjovsky et al. 2017, eq. 2, negated to a
    loss). "bce": −log σ(D(real)) − log(1 − σ(D(generated))), means over the batch (Goodfellow et
    al. 2014, eq. 1).

    Raises:
        ValueError: another name.
    """
    if loss == "wasserstein":
        return tf.reduce_mean(generated_scores) - tf.reduce_mean(real_scores)
    if loss == "bce":
        # −log σ(s) is softplus(−s), which does not overflow.
        of_real = tf.reduce_mean(tf.nn.softplus(-real_scores))
        of_generated = tf.reduce_mean(tf.nn.softplus(generated_scores))
        return of_real + of_generated
    raise ValueError(f"loss must be one of {LOSSES}. Received: {loss!r}")


def generator_loss(loss: str, generated_scores: tf.Tensor) -> tf.Tensor:
    """What the generator descends, [].

    "wasserstein": −mean D(generated).
    "bce": −log σ(D(generated)), the non-saturating form (Goodfellow et al. 2014, section 3).

    Raises:
        ValueError: another name.
    """
    if loss == "wasserstein":
        return -tf.reduce_mean(generated_scores)
    if loss == "bce":
        return tf.reduce_mean(tf.nn.softplus(-generated_scores))
    raise ValueError(f"loss must be one of {LOSSES}. Received: {loss!r}")


def gradient_penalty(
    score_images: Callable[[tf.Tensor], tf.Tensor], interpolates: tf.Tensor, norm: str = "image"
) -> tf.Tensor:
    """Mean of (‖∇D(x̂)‖ − 1)² over interpolates x̂, [] (Gulrajani et al. 2017, eq. 3).

    Its weight λ is not in it.

    Args:
        score_images: images [B, H, W, C] → scores [B, 1], each a function of its own image only.
        interpolates: [B, H, W, C], points between real and generated images.
        norm: "image" takes one norm over (H, W, C) per image, as WGAN-GP does. "pixel" takes one
            over the channels per pixel, as FIGR's 2018 code does, so that the gradient of a whole
            image is pushed to norm √(H·W).
    """
    with tf.GradientTape() as tape:
        tape.watch(interpolates)
        scores = score_images(interpolates)
    gradient = tape.gradient(scores, interpolates)
    axes = [1, 2, 3] if norm == "image" else [3]
    norms = tf.sqrt(tf.reduce_sum(tf.square(gradient), axes) + _NORM_EPSILON)
    return tf.reduce_mean(tf.square(norms - 1.0))
