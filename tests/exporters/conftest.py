"""One small run and one export of each kind for the whole session; and a session that does not
check what it is fed.
"""

import io
import pathlib
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import config_pb2

import figr_tf
from exporters import contract, saved_model, signatures
from exporters.limits import Limits
from figr_tf.core.runs import RunFolder
from figr_tf.data import datasets, glyphs
from figr_tf.data.splits import Split
from figr_tf.gan import adaptation
from figr_tf.gan.settings import Settings
from tests.conftest import LEAN, untrained_run

LIMITS = Limits(
    max_num_shots=6, max_num_inner_steps=20, max_num_samples=32, max_image_side=128, max_num_tasks=3
)
REQUEST = saved_model.ExportRequest(
    run=pathlib.Path(),
    kind="generate",
    signature_names=signatures.NAMES,
    limits=LIMITS,
    num_samples=4,
    num_inner_steps=None,
    evaluation=None,
)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, tiny_dataset) -> pathlib.Path:
    """As the one of all tests, with a rate that magnifies rounding."""
    settings = Settings(
        data=datasets.DataSettings(image_size=16),
        network=LEAN,
        inner=adaptation.InnerSettings(learning_rate=1e-2),
        num_shots=3,
        num_inner_steps=2,
    )
    return untrained_run(tmp_path_factory.mktemp("runs") / "run", settings, tiny_dataset)


@pytest.fixture(scope="session")
def model(run_folder):
    return figr_tf.load(str(run_folder))


@pytest.fixture(scope="session")
def exported(run_folder, tmp_path_factory) -> saved_model.Export:
    return saved_model.export(
        REQUEST._replace(run=run_folder), tmp_path_factory.mktemp("models") / "figr", None
    )


@pytest.fixture(scope="session")
def exported_tasks(run_folder, tmp_path_factory) -> saved_model.Export:
    request = REQUEST._replace(run=run_folder, kind="tasks", signature_names=())
    return saved_model.export(request, tmp_path_factory.mktemp("models") / "figr_tasks", None)


class Server(NamedTuple):
    """What a server has of an export: a C++ session and the signatures, and no more."""

    session: tf.compat.v1.Session
    signatures: dict[str, Any]
    callables: dict[str, Any]

    def predict(self, name: str, **inputs) -> dict[str, np.ndarray]:
        """Answers like a server: defaults filled in, neither shapes nor values looked at."""
        signature = self.signatures[name]
        outputs = sorted(signature.outputs)
        if name not in self.callables:
            options = config_pb2.CallableOptions(
                feed=[info.name for _, info in sorted(signature.inputs.items())],
                fetch=[signature.outputs[output].name for output in outputs],
            )
            self.callables[name] = self.session._make_callable_from_options(options)
        values = [
            np.asarray(inputs[key], tf.as_dtype(info.dtype).as_numpy_dtype)
            if key in inputs
            else tf.make_ndarray(signature.defaults[key])
            for key, info in sorted(signature.inputs.items())
        ]
        return dict(zip(outputs, self.callables[name](*values), strict=True))


def serve(export: saved_model.Export) -> Server:
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
        tf.compat.v1.saved_model.load(session, ["serve"], str(export.path))
    return Server(session, contract.signature_defs(export.path), {})


@pytest.fixture(scope="session")
def server(exported) -> Server:
    return serve(exported)


@pytest.fixture(scope="session")
def support() -> np.ndarray:
    """uint8 [3, 16, 16, 1]."""
    return glyphs.glyph_images(7, 3, 16, seed=0)


@pytest.fixture(scope="session")
def png_support(support) -> list[bytes]:
    return [png_file(Image.fromarray(image[..., 0])) for image in support]


def png_file(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def read_png(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)[..., None] if image.mode == "L" else np.asarray(image)


def report_of(run_folder, changed=(), **judged):
    """As figr_tf.evaluate writes it, as far as the exporter looks."""
    settings = RunFolder(run_folder).read_settings(Settings).identity() | dict(changed)
    split = Split.of_run(run_folder).digest()
    about = {"meta_step": 12, "settings": settings} | judged
    return {"judged": about, "split_sha256": split, "rows": {"model": {}}}
