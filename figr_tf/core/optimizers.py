"""Outer optimisers: what descends Φ − W. One instance for each group of meta-weights."""

from collections.abc import Sequence

import tensorflow as tf


def replica_variable(value: float, dtype: tf.DType, name: str | None = None) -> tf.Variable:
    """A scalar of which each replica of a strategy changes its own copy, all alike.

    Without a strategy it is like any variable.
    """
    return tf.Variable(
        value,
        dtype=dtype,
        trainable=False,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


class Adam(tf.Module):
    """FIGR's outer optimiser (Kingma & Ba 2015, end of section 2), one fused operation per weight.

    Keras' own takes forty, a third of the graph of a meta-step and of the time to build it. ε is
    PyTorch's 1e-8 and not Keras' 1e-7: with an inner rate of 1e-4 most of Φ − W lies between 1e-9
    and 1e-6, where ten times the ε is a tenth of the step.
    """

    _EPSILON = 1e-8

    def __init__(self, learning_rate: float, beta_2: float = 0.999):
        """beta_2: decay of the average of squared gradients; β1 is 0.9."""
        super().__init__()
        self._betas = (0.9, beta_2)
        self.learning_rate = replica_variable(learning_rate, tf.float32)
        self.iterations = replica_variable(0, tf.int64)
        self.moments: list[list[tf.Variable]] = []

    def build(self, variables: Sequence[tf.Variable]) -> None:
        """Makes both moments of each variable."""
        self.moments = [
            [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables] for _ in self._betas
        ]

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> None:
        """One step of descent along Φ − W: changes `variables` in place."""
        count = tf.cast(self.iterations.assign_add(1), tf.float32)
        (beta_1, beta_2), rate = self._betas, self.learning_rate.read_value()
        # Of the bias corrections 1 − β^t. TensorFlow's operation takes the powers, not t.
        powers = tf.pow(beta_1, count), tf.pow(beta_2, count)
        for gradient, variable, m, v in zip(gradients, variables, *self.moments, strict=True):
            # By handle, since a strategy's variables refuse assignments in one replica.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=self._EPSILON,
                grad=gradient,
            )


class Interpolation(tf.Module):
    """Φ ← Φ + ε(W − Φ), the outer step of Reptile (Nichol et al. 2018, Algorithm 1).

    That is plain SGD on Φ − W with the rate ε, which usually falls to 0 over a run.
    """

    def __init__(self, learning_rate: float):
        super().__init__()
        self.learning_rate = replica_variable(learning_rate, tf.float32)

    def build(self, variables: Sequence[tf.Variable]) -> None:
        """It has no state beside its rate."""

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> None:
        """One step: changes `variables` in place."""
        rate = self.learning_rate.read_value()
        for gradient, variable in zip(gradients, variables, strict=True):
            # By handle, since a strategy's variables refuse assignments in one replica.
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
