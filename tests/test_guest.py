"""In somebody else's program: nothing of the host's changes, and nothing of the host's settings is
in the way.
"""

import concurrent.futures
import hashlib
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

import figr_tf
from figr_tf.core import training
from figr_tf.core.random import kernel_seeds
from figr_tf.gan.networks import build_networks
from figr_tf.sine.system import SineSettings, SineSystem
from tests.conftest import ROOT, TINY

pytestmark = pytest.mark.whole

_LOADED = """
import os
before = dict(os.environ)
import figr_tf
facts = {"environment": dict(os.environ) == before}

import hashlib, json, random, sys
import keras, numpy as np, tensorflow as tf

def draws(between):
    random.seed(5), np.random.seed(5), tf.random.set_seed(5)
    between()
    return [random.random(), np.random.rand(), float(tf.random.uniform([]))]

def generated():
    samples = model.generate(model.read_support("examples/fish"), 4, seed=1)
    return hashlib.sha256(samples.tobytes()).hexdigest()

def load():
    global model
    model = figr_tf.load("omniglot-32-redraw")
    generated()

facts["draws"] = [draws(lambda: None), draws(load)]
facts["floatx"] = keras.config.floatx()
facts["float64"] = generated()
keras.mixed_precision.set_global_policy("mixed_float16")
load()
facts["mixed_float16"] = generated()
tf.config.run_functions_eagerly(True)
facts["eager"] = generated()
tf.config.run_functions_eagerly(False)

from figr_tf.gan.networks import NetworkSpec, build_networks
pair = build_networks(NetworkSpec(image_size=16, hidden=1, latent_dim=8))
scores = pair.discriminator(pair.generator(np.zeros([1, 8])))
dtypes = {w.dtype for network in pair for w in network.weights}
facts["dtypes"] = sorted(dtypes | {scores.dtype.name})
print(json.dumps(facts))
"""

_IMPORTED = """
import figr_tf.train, figr_tf.generate, figr_tf.evaluate
import figr_tf.train_warp, figr_tf.package, figr_tf.sine.__main__
import exporters.export_saved_model, serving.demo, serving.server
from absl import flags
own = figr_tf.generate.flags.FLAGS
own(["generate", "--images=mine", "--seed=7"])
print(own.images, own.seed, "seed" in flags.FLAGS, figr_tf.train.flags.FLAGS.is_parsed())
"""


def _run(script: str, **environment: str) -> str:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("KERAS", "TF_CPP"))}
    command = [sys.executable, "-c", script]
    result = subprocess.run(
        command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """Of a program whose Keras computes in float64, channels first."""
    home = tmp_path_factory.mktemp("home")
    (home / ".keras").mkdir()
    settings = {"floatx": "float64", "image_data_format": "channels_first", "backend": "tensorflow"}
    (home / ".keras/keras.json").write_text(json.dumps(settings | {"epsilon": 1e-7}))
    return json.loads(_run(_LOADED, HOME=str(home)))


def test_importing_leaves_the_environment_alone(facts):
    assert facts["environment"]


def test_loading_and_generating_leave_the_hosts_random_numbers_alone(facts):
    without, with_model = facts["draws"]
    assert with_model == without


@pytest.mark.parametrize("setting", ["float64", "mixed_float16", "eager"])
def test_the_hosts_keras_and_tensorflow_settings_do_not_change_a_pixel(facts, setting):
    assert facts["floatx"] == "float64"
    model = figr_tf.load("omniglot-32-redraw")
    samples = model.generate(model.read_support(ROOT / "examples/fish"), 4, seed=1)
    assert facts[setting] == hashlib.sha256(samples.tobytes()).hexdigest()


def test_networks_are_float32_whatever_the_policy(facts):
    assert facts["dtypes"] == ["float32"]


def test_initial_weights_are_those_of_keras_own_seeding():
    """The rule that runs were begun with since the first of them: one global seed, kernel after
    kernel.
    """
    keras.utils.set_random_seed(3)
    drawn = [keras.initializers.VarianceScaling().seed for _ in range(3)]
    seeds = kernel_seeds(3)
    assert [next(seeds) for _ in range(3)] == drawn
    digest = hashlib.sha256()
    for network in build_networks(TINY, seed=3):
        for weight in network.get_weights():
            digest.update(weight.tobytes())
    assert digest.hexdigest()[:16] == "cae606d17f5d1272"
    assert weight.dtype == np.float32


def test_a_model_trains_in_a_thread_that_is_not_the_main_one():
    """Python lets the main thread alone listen for signals; theirs stay the host's."""
    settings = SineSettings(width=4, num_meta_steps=2)
    before = signal.getsignal(signal.SIGTERM)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        system = thread.submit(training.train, lambda: SineSystem(settings), settings).result()
    assert isinstance(system, SineSystem)
    assert signal.getsignal(signal.SIGTERM) is before


def test_every_entry_point_can_be_imported_into_one_program():
    assert _run(_IMPORTED) == "mine 7 False False"
