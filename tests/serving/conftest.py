"""Servers in processes of their own, on the stub model."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from figr_tf.data import glyphs
from serving import remote
from tests.serving import processes, stub_model


@pytest.fixture(scope="session")
def stub(tmp_path_factory):
    """Model base path with version 1 of the stub, with warm-up."""
    return stub_model.export_first(tmp_path_factory.mktemp("stub"))


def _real_server() -> object:
    missing = shutil.which("tensorflow_model_server") is None
    skip = pytest.mark.skipif(missing, reason="no tensorflow_model_server on PATH")
    return pytest.param(
        processes.start_tensorflow_serving, id="tensorflow_model_server", marks=skip
    )


@pytest.fixture(
    scope="session", params=[pytest.param(processes.start_embedded, id="embedded"), _real_server()]
)
def server(request, stub):
    """One server for all tests that leave it as it is."""
    with request.param(stub) as served:
        yield served


@pytest.fixture(params=["grpc", "rest"])
def model(request, server):
    with remote.RemoteModel(
        remote.Endpoint(getattr(server, request.param)), retry_for=0
    ) as connected:
        yield connected


@pytest.fixture(scope="session")
def support():
    return glyphs.glyph_images(3, 4, stub_model.SIZE, seed=0)


@pytest.fixture
def image_folder(tmp_path, support):
    """The support set as files of 40×40 pixels and one of 16×16."""
    folder = tmp_path / "drawings"
    folder.mkdir()
    for i, image in enumerate(support):
        size = 40 if i else stub_model.SIZE
        Image.fromarray(image[..., 0]).resize((size, size)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def png():
    file = io.BytesIO()
    Image.fromarray(np.full((stub_model.SIZE, stub_model.SIZE), 200, np.uint8)).save(file, "PNG")
    return file.getvalue()
