"""Colour, the whole way: a folder of coloured pictures, a run, its export, the embedded server, the
client's PNG.
"""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageDraw

import figr_tf
from exporters import saved_model
from exporters.limits import Limits
from figr_common import image_grid
from figr_tf.data import datasets
from figr_tf.gan import adaptation
from figr_tf.gan.settings import Settings
from tests.conftest import LEAN, untrained_run
from tests.serving import processes

INKS = {"berry": (200, 0, 40), "leaf": (0, 150, 30), "sea": (10, 40, 220)}


def _picture(ink: tuple[int, int, int], i: int) -> Image.Image:
    """A disc on paper that is transparent."""
    image = Image.new("RGBA", (24, 24), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((3 + i, 4, 19, 20 - i), fill=(*ink, 255))
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("coloured")
    for name, ink in INKS.items():
        (root / "data" / name).mkdir(parents=True)
        for i in range(4):
            _picture(ink, i).save(root / "data" / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def run(folder):
    settings = Settings(
        data=datasets.DataSettings(
            "folder", str(folder / "data"), 16, channels=3, cache_dir=str(folder / "cache")
        ),
        network=dataclasses.replace(LEAN, channels=3),
        inner=adaptation.InnerSettings(learning_rate=1e-2),
        num_inner_steps=2,
    )
    dataset = datasets.load_dataset(settings.data, 4)
    assert tuple(dataset.data.images[0, 8, 8]) == INKS["berry"]
    assert (dataset.data.images[:, 0, 0] == 255).all()
    return untrained_run(folder / "run", settings, dataset)


@pytest.fixture(scope="module")
def served(run, folder):
    signatures = ("generate", "generate_tensor")  # The client asks the second for the size.
    request = saved_model.ExportRequest(run, "generate", signatures, Limits(), 16, None, None)
    saved_model.export(request, folder / "models" / "figr", None)
    with processes.start_embedded(folder / "models" / "figr") as server:
        yield server


@pytest.mark.slow
def test_the_clients_picture_has_the_colours_of_generating_here(served, run, folder, tmp_path):
    arguments = ["--num_samples", "6", "--seed", "7", "--out", str(tmp_path / "out.png")]
    ended = processes.run_client(
        "generate", "--images", str(folder / "data" / "sea"), "--target", served.grpc, *arguments
    )
    assert ended.returncode == 0, ended.stderr
    model = figr_tf.load(run)
    support = model.read_support(folder / "data" / "sea")
    assert tuple(support[0, 8, 8]) == INKS["sea"]
    samples = model.generate(support, 6, seed=7)
    assert samples.shape == (6, 16, 16, 3)
    assert np.ptp(samples, axis=-1).max() > 50  # Colours, not greys.
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_array_equal(picture, image_grid.result_picture(support, samples))
