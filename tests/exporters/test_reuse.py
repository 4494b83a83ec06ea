"""The export in somebody else's TensorFlow code."""

import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.gan.generation import sample_latents
from tests.conftest import ROOT, TINY

_WITHOUT_OURS = """
import sys
import tensorflow  # which imports some of Keras itself; what is loaded here must do without

for name in list(sys.modules):
    if name.split(".")[0] == "keras":
        del sys.modules[name]

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("figr_tf", "exporters", "keras"):
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Refuse())
# From a rare latent the page's large steps lead nowhere.
tensorflow.random.set_seed(0)
"""
_CHECKS = """
import numpy as np
assert images.shape == (16, SIZE, SIZE, 1) and 0 <= np.min(images) <= np.max(images) <= 1
assert np.isfinite(latent).all() and np.any(latent != 0)
assert distance < np.mean((figr.generate(weights, tf.zeros([1, LATENT_DIM])) - images[:1]) ** 2)
assert answer["images"].shape == (16, SIZE, SIZE, 1)
assert not {"figr_tf", "exporters", "keras"} & {name.split(".")[0] for name in sys.modules}
print("all there")
"""


@pytest.fixture(scope="module")
def figr(exported):
    return tf.saved_model.load(str(exported.path))


def test_the_documented_example_runs_where_figr_tf_and_keras_cannot_be_imported(exported, tmp_path):
    page = (ROOT / "docs/saved-model.md").read_text()
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    constants = (
        f"MODEL, SIZE, LATENT_DIM = {str(exported.path)!r}, {TINY.image_size}, {TINY.latent_dim}\n"
    )
    script = tmp_path / "example.py"
    script.write_text(_WITHOUT_OURS + constants + example + _CHECKS)
    result = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.stdout == "all there\n", result.stderr


def test_adapt_and_generate_draw_what_figr_tf_generate_draws(figr, model, support):
    weights = figr.adapt(tf.constant(support / 255.0, tf.float32), 3, 7)
    latents = tf.random.stateless_normal([5, TINY.latent_dim], [0, 1])
    alone = figr.generate(weights, latents[:2])
    np.testing.assert_allclose(figr.generate(weights, latents)[:2], alone, atol=1e-5)

    images = figr.generate(weights, sample_latents(model.networks, 5, 7))
    np.testing.assert_allclose(images * 255, model.generate(support, 5, 7, 3), atol=1)


def test_gradients_with_respect_to_latents_are_those_of_finite_differences(figr, support):
    weights = figr.adapt(tf.constant(support / 255.0, tf.float32))
    latents = tf.random.stateless_normal([2, TINY.latent_dim], [0, 1])
    direction = tf.random.stateless_normal([2, TINY.latent_dim], [0, 2])

    @tf.function
    def slope(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            brightness = tf.reduce_sum(figr.generate(weights, z))
        return tf.reduce_sum(tape.gradient(brightness, z) * direction)

    def brightness(distance):
        return np.sum(figr.generate(weights, latents + distance * direction), dtype=np.float64)

    step = 1e-3
    assert float(slope(latents)) == pytest.approx(
        (brightness(step) - brightness(-step)) / (2 * step), rel=0.02
    )


def test_typed_methods_refuse_what_signatures_refuse(figr, support):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must lie in \[0, 1\]"):
        figr.adapt(tf.constant(support, tf.float32))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="num_inner_steps must be from 0 to 20"
    ):
        figr.adapt(tf.constant(support / 255.0, tf.float32), 21)
