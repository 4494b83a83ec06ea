"""The networks against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.classifier import networks
from figr_tf.classifier.networks import NetworkSpec

SPEC = NetworkSpec(image_size=14, filters=3, num_classes=4)


def _convolve(images, kernel, stride):
    """A 3×3 convolution with TensorFlow's padding "SAME", by hand."""
    size = images.shape[1]
    out = -(-size // stride)
    padding = max((out - 1) * stride + 3 - size, 0)
    before = padding // 2
    around = (before, padding - before)
    padded = np.pad(images, [(0, 0), around, around, (0, 0)])
    corners = range(0, out * stride, stride)
    patches = np.stack(
        [padded[:, i : i + 3, j : j + 3] for i in corners for j in corners],
        1,
    )
    flat = patches.reshape(len(images), out * out, -1) @ kernel.reshape(-1, kernel.shape[-1])
    return flat.reshape(len(images), out, out, -1)


def _pooled(images):
    """The largest of each 2×2 pixels; at an odd edge of those that are there."""
    odd = images.shape[1] % 2
    around = (0, odd)
    padded = np.pad(images, [(0, 0), around, around, (0, 0)], constant_values=-np.inf)
    return np.max([padded[:, i::2, j::2] for i in range(2) for j in range(2)], 0)


def _twin(architecture, layers, images):
    x = images
    for block in range(4):
        kernel, bias, scale, shift = layers[4 * block : 4 * block + 4]
        x = _convolve(x, kernel, 2 if architecture == "strided" else 1) + bias
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        x = np.maximum(scale * (x - mean) / np.sqrt(variance + 1e-3) + shift, 0)
        if architecture == "pooled":
            x = _pooled(x)
    return x.reshape(len(x), -1) @ layers[16] + layers[17]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random([5, 14, 14, 1]).astype(np.float32)


@pytest.fixture(scope="module")
def layers():
    """Initial ones, moved a little, so that scales and shifts count."""
    rng = np.random.default_rng(1)
    initial = networks.initial_layers(SPEC, seed=0)
    return [w + rng.normal(0, 0.1, w.shape).astype(np.float32) for w in initial]


@pytest.mark.parametrize("architecture", networks.ARCHITECTURES)
def test_batch_norm_takes_the_statistics_of_the_batch_at_hand(layers, images, architecture):
    # The sizes of both at 14×14 are the same: 7, 4, 2, 1.
    ours = networks.logits(architecture, layers, tf.constant(images))
    twin = _twin(architecture, [w.numpy().astype(np.float64) for w in layers], images)
    np.testing.assert_allclose(ours, twin, rtol=1e-3, atol=1e-3)


def test_an_answer_depends_on_what_else_is_in_the_batch(layers, images):
    together = networks.logits("strided", layers, tf.constant(images))[0]
    fewer = networks.logits("strided", layers, tf.constant(images[:3]))[0]
    assert np.abs(together - fewer).max() > 1e-3


def test_a_pooling_network_halves_its_images_too():
    spec = NetworkSpec("pooled", image_size=20, channels=3, filters=4, num_classes=2)
    assert spec.shapes()[-2] == [2 * 2 * 4, 2]
    layers = networks.initial_layers(spec, seed=0)
    assert networks.logits("pooled", layers, tf.zeros([3, 20, 20, 3])).shape == [3, 2]


def test_published_networks_have_the_published_sizes():
    """111,936 weights in Omniglot's convolutions; the dense layers see 256 and 1,152 numbers."""
    omniglot = NetworkSpec().shapes()
    assert sum(np.prod(shape) for shape in omniglot[:-2]) == 640 + 3 * 36_928 + 8 * 64
    assert omniglot[-2] == [256, 5]
    pooled = NetworkSpec("pooled", image_size=84, channels=3, filters=32).shapes()
    assert pooled[-2] == [1_152, 5]


def test_weights_in_a_vector_come_back_as_they_were(layers):
    for back, weight in zip(
        networks.unpack(networks.pack(layers), SPEC.shapes()), layers, strict=True
    ):
        np.testing.assert_array_equal(back, weight)


@pytest.mark.parametrize(
    "wrong",
    [{"architecture": "resnet"}, {"filters": 0}, {"num_classes": 1}, {"image_size": 1}],
)
def test_a_network_that_cannot_be_is_refused_with_the_value_received(wrong):
    with pytest.raises(ValueError, match=f"Received: {next(iter(wrong.values()))}"):
        NetworkSpec(**wrong)
