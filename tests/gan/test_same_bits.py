"""The paper's preset gives the bits that it gave before the core was made for several systems.

same_bits.json was written by the code before that (20 meta-steps on glyphs, h = 2, 16×16, K = 2).
Bits depend on the processor's kernels, so they are compared where the kernels are among those of
the record: AVX-512, and AVX2 without oneDNN (written by the code of 2026-11-26, which has the bits
of the one before on AVX-512). The fingerprint does not tell all processors apart: on two kinds with
AVX-512 it is the same, and the code before the change has other bits on each; both are in the
record. Elsewhere the sums of the large weights are compared. Rounding decides where Adam sends a
weight whose gradient is near 0, so small weights say nothing there.
"""

import hashlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import training
from figr_tf.data import datasets
from figr_tf.gan.adaptation import InnerSettings
from figr_tf.gan.networks import NetworkSpec
from figr_tf.gan.settings import Settings
from figr_tf.gan.system import FigrSystem

RECORD = pathlib.Path(__file__).with_name("same_bits.json")


def kernel_fingerprint() -> str:
    """Of what this processor's convolutions, products and their gradients round to."""
    x = tf.reshape(tf.sin(tf.range(2048.0)), [2, 8, 8, 16])
    kernel = tf.reshape(tf.cos(tf.range(3 * 3 * 16 * 16.0)), [3, 3, 16, 16])
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = tf.nn.conv2d(x, kernel, 1, "SAME")
        loss = tf.reduce_sum(tf.tanh(tf.reshape(y, [-1, 64]) @ tf.reshape(kernel, [64, -1])))
    results = [y, loss, *tape.gradient(loss, [x, kernel])]
    return hashlib.sha256(b"".join(r.numpy().tobytes() for r in results)).hexdigest()


@pytest.fixture(scope="module")
def weights():
    settings = Settings(
        data=datasets.DataSettings(dataset="glyphs", image_size=16),
        network=NetworkSpec(hidden=2, image_size=16, latent_dim=8),
        inner=InnerSettings(learning_rate=1e-3),
        num_inner_steps=2,
        meta_learning_rate=1e-3,
        num_meta_steps=20,
        meta_steps_per_call=20,
    )
    dataset = datasets.load_dataset(settings.data, settings.num_shots)
    trained = training.train(lambda: FigrSystem(settings, dataset), settings)
    return {group: [v.numpy() for v in vs] for group, vs in trained.meta_weights.items()}


def test_twenty_meta_steps_end_where_they_ended_before(weights):
    record = json.loads(RECORD.read_text())
    digest = hashlib.sha256()
    for group in sorted(weights):
        for weight in weights[group]:
            digest.update(weight.tobytes())
    known = record["sha256_by_kernels"].get(kernel_fingerprint())
    if known:
        assert digest.hexdigest() in known
    for group, expected in record["sums"].items():
        pairs = zip(weights[group], expected, strict=True)
        large = [(np.abs(w).sum(dtype=np.float64), total) for w, total in pairs if w.ndim == 4]
        assert len(large) > 10
        # AVX2, with and without oneDNN, differs from AVX-512 by 0.023 at the most.
        np.testing.assert_allclose(*zip(*large, strict=True), rtol=0.05)
