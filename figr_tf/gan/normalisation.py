"""PReLU and LayerNorm as one operation, whose derivatives are written out."""

import tensorflow as tf

_LAYER_NORM_EPSILON = 1e-5
_NO_SECOND_DERIVATIVE = (
    "prelu_layer_norm: the gradient by its weights cannot be differentiated again"
)


def prelu_layer_norm(
    x: tf.Tensor, slope: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor
) -> tf.Tensor:
    """PReLU (He et al. 2015, eq. 1), then LayerNorm of each example (Ba et al. 2016, eq. 4).

    The norm goes over all axes of an example.

    First and second derivatives are written out: automatic ones take three times as many
    operations. The gradient by x may be differentiated once more, as the gradient penalty does; the
    one by the weights may not, and says so.

    Args:
        x: [B, ..., C].
        slope: what multiplies negative values; broadcasts against x.
        scale, offset: LayerNorm's affine, of the shape of one example.

    Returns:
        [B, ..., C], like x.
    """
    # Once, to the shape of an example: operations that repeat a handful of channels are ten times
    # as slow.
    dip = (slope - 1.0) + tf.zeros_like(scale)
    return _prelu_layer_norm(x, dip, scale, offset)


def _prelu_layer_norm(x, dip, scale, offset):
    """With PReLU as x − dip · max(−x, 0), where dip = slope − 1.

    That is an operation less here and in each derivative.
    """

    def mean(values: tf.Tensor) -> tf.Tensor:
        """Of each example: [B, ..., C] → [B, 1…]."""
        return tf.reduce_mean(values, list(range(1, values.shape.rank)), keepdims=True)

    def project(g, normalised):
        """LayerNorm's Jacobian without its 1/std, which is symmetric.

        It removes the mean of g and its part along `normalised`.
        """
        along, average = mean(g * normalised), mean(g)
        return g - average - normalised * along, average, along

    def through_prelu(g, dip, negative):
        """g times PReLU's derivative, 1 + dip below 0 and 1 elsewhere, by a fast operation."""
        return g + dip * tf.raw_ops.ReluGrad(gradients=g, features=negative)

    def over_batch(values):
        return tf.reduce_sum(values, 0)

    @tf.custom_gradient
    def forward(x, dip, scale, offset):
        negative = tf.nn.relu(-x)
        activated = x - dip * negative
        centred = activated - mean(activated)
        inverse_std = tf.math.rsqrt(mean(tf.square(centred)) + _LAYER_NORM_EPSILON)
        normalised = centred * inverse_std

        def gradient(dy):
            # Backwards through the affine, then through the norm.
            g = dy * scale
            projected, g_mean, g_along = project(g, normalised)
            d_activated = inverse_std * projected

            @tf.custom_gradient
            def gradient_by_x(x, dip, scale, dy):
                def second(v):
                    """Derivatives of Σ v · gradient_by_x.

                    `normalised` and `inverse_std` depend on x as well, hence `by_activated`.
                    """
                    w = through_prelu(v, dip, negative)
                    projected, w_mean, w_along = project(w, normalised)
                    d_g = inverse_std * projected
                    # The derivative of LayerNorm's Jacobian, applied to g and contracted with w.
                    along = mean(w * g) - w_mean * g_mean - 3.0 * g_along * w_along
                    by_activated = (
                        (w - w_mean) * g_along + (g - g_mean) * w_along + normalised * along
                    )
                    by_activated *= -tf.square(inverse_std)
                    by_dip = tf.raw_ops.ReluGrad(gradients=v * d_activated, features=negative)
                    return (
                        through_prelu(by_activated, dip, negative),
                        over_batch(by_dip - by_activated * negative),
                        over_batch(dy * d_g),
                        scale * d_g,
                    )

                return through_prelu(d_activated, dip, negative), second

            # None needs these twice. Refusing is better than a silent wrong answer.
            by_weights = (
                -over_batch(d_activated * negative),
                over_batch(dy * normalised),
                over_batch(dy),
            )
            return gradient_by_x(x, dip, scale, dy), *(
                tf.raw_ops.PreventGradient(input=d, message=_NO_SECOND_DERIVATIVE)
                for d in by_weights
            )

        return normalised * scale + offset, gradient

    return forward(x, dip, scale, offset)
