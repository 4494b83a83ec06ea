"""A run of a classifier, exported by the command, served, and asked by the client: over gRPC and
REST the answers of `figr_tf.classify`, bit for bit.
"""

import json
import statistics
import time

import numpy as np
import pytest

from exporters import export_saved_model
from figr_tf.classifier.model import ClassifierModel
from serving import remote
from serving.errors import ServingError
from tests.commands import run_here
from tests.serving import processes


@pytest.fixture(scope="module")
def served(classifier_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "figr"
    run_here(export_saved_model, f"--run={classifier_run}", f"--export_dir={path}")
    with processes.start_embedded(path) as server:
        yield server


@pytest.fixture(scope="module")
def expected(classifier_run, three_classes):
    """By folder names and seed, what the classifier answers here."""
    model = ClassifierModel(classifier_run)
    query = model.read_images(three_classes / "b.png")

    def answer(names, seed):
        support = np.stack([model.read_images(three_classes / name) for name in names])
        return model.classify(support, query, seed)[0]

    return answer


def _client(target, three_classes, names, *arguments):
    images = ["--images", *(str(three_classes / name) for name in names)]
    query = ["--query", str(three_classes / "b.png")]
    return processes.run_client("classify", *images, *query, "--target", target, *arguments)


@pytest.mark.parametrize("address", ["grpc", "rest"])
@pytest.mark.parametrize("names", ["abc", "ab"])
def test_the_client_says_what_the_classifier_says(served, three_classes, expected, address, names):
    ended = _client(getattr(served, address), three_classes, names, "--seed=9", "--json")
    assert ended.returncode == 0, ended.stderr
    (answer,) = json.loads(ended.stdout)["answers"]
    by_name = answer["probabilities"]
    found = np.array([by_name[str(three_classes / name)] for name in names], np.float32)
    np.testing.assert_array_equal(found, expected(names, 9))
    assert list(by_name.values()) == sorted(by_name.values(), reverse=True)


def test_for_people_it_is_a_line_with_the_likeliest_class_first(served, three_classes, expected):
    ended = _client(served.grpc, three_classes, "abc")
    best = three_classes / "abc"[expected("abc", 0).argmax()]
    assert ended.stdout.startswith(f"answers: query {three_classes / 'b.png'}")
    assert f"probabilities {best} 0." in ended.stdout


@pytest.mark.parametrize(
    ("names", "arguments", "status", "says"),
    [
        ("a", [], 2, "give 2 classes or more. Received: 1"),
        ("aa", [], 2, "a class is given twice"),
        (["a.png", "b.png", "c.png", "a/0.png"], [], 3, "labels must be from 0 to 2, for 2"),
        ("ab", ["--num_inner_steps=201"], 3, "num_inner_steps must be from 0 to 200"),
        (["a", "nowhere"], [], 1, "nowhere: no such folder or image"),
        ("ab", ["--query=nowhere.png"], 1, "nowhere.png: no such folder or image"),
        ("ab", ["--model=other"], 4, "this server has 'figr'"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_status(
    served, three_classes, names, arguments, status, says
):
    ended = _client(served.grpc, three_classes, names, *arguments)
    assert (ended.returncode, ended.stderr.count("\n")) == (status, 1)
    assert says in ended.stderr


def test_each_kind_of_model_says_what_it_has_when_it_is_asked_for_the_other(served, server):
    support = np.zeros([2, 16, 16, 1], np.uint8)
    with remote.RemoteModel(remote.Endpoint(served.grpc)) as classifier:
        assert classifier.image_shape() == (16, 16, 1)
        with pytest.raises(ServingError, match="no signature 'generate'; it has classify, "):
            classifier.generate(support)
    with (
        remote.RemoteModel(remote.Endpoint(server.grpc)) as model,
        pytest.raises(ServingError, match=r"no signature 'classify'; it has .*generate"),
    ):
        model.classify(support, np.arange(2), support)


def _bar(rows: slice, columns: slice) -> np.ndarray:
    """A black rectangle on white paper, uint8 [1, 28, 28, 1]."""
    image = np.full([1, 28, 28, 1], 255, np.uint8)
    image[0, rows, columns] = 0
    return image


@pytest.mark.whole
def test_the_classifier_that_ships_tells_three_shapes_apart_in_0_3_seconds(tmp_path):
    """As the page's second tab asks it: one image of each shape, and a drawing of one of them."""
    run_here(export_saved_model, "--run=omniglot-3way", f"--export_dir={tmp_path / 'figr'}")
    lying, standing = (slice(13, 16), slice(4, 24)), (slice(4, 24), slice(13, 16))
    both = np.minimum(_bar(*lying), _bar(*standing))
    support = np.concatenate([_bar(*lying), _bar(*standing), both])
    # Two pixels beside the one of the support, and shorter.
    query = _bar(slice(6, 23), slice(15, 18))
    seconds = []
    with (
        processes.start_embedded(tmp_path / "figr") as server,
        remote.RemoteModel(remote.Endpoint(server.grpc)) as model,
    ):
        for _ in range(7):
            start = time.monotonic()
            (answer,) = model.classify(support, np.arange(3), query)
            seconds.append(time.monotonic() - start)
    assert answer.argmax() == 1
    assert statistics.median(seconds) < 0.3, seconds
