"""The export of a classifier: a server's answers against the classifier in Python."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from exporters import classifying, saved_model
from figr_tf.classifier.model import ClassifierModel
from figr_tf.core.errors import UserError
from figr_tf.core.random import stateless_seed
from figr_tf.data import glyphs
from tests.conftest import ROOT
from tests.exporters.conftest import LIMITS, REQUEST, png_file, serve

CLASSIFIER = REQUEST._replace(signature_names=(), num_samples=None)


@pytest.fixture(scope="module")
def exported(classifier_run, tmp_path_factory):
    request = CLASSIFIER._replace(run=classifier_run)
    return saved_model.export(request, tmp_path_factory.mktemp("models") / "figr", None)


@pytest.fixture(scope="module")
def server(exported):
    return serve(exported)


@pytest.fixture(scope="module")
def classifier(classifier_run):
    return ClassifierModel(classifier_run)


@pytest.fixture(scope="module")
def drawings():
    """uint8 [3, 4, 16, 16, 1]: three glyphs, drawn four times each."""
    return np.stack([glyphs.glyph_images(index, 4, 16, seed=3) for index in range(3)])


def _files(pixels):
    return [png_file(Image.fromarray(image[..., 0])) for image in pixels]


def _request(support, queries, **numbers):
    """As PNG files: support uint8 [classes, shots, S, S, 1]."""
    labels = np.repeat(np.arange(len(support)), support.shape[1])
    files = _files(support.reshape(-1, *support.shape[2:]))
    return {"image_bytes": files, "labels": labels, "query_bytes": _files(queries)} | numbers


def _tensors(support, queries, **numbers):
    labels = np.repeat(np.arange(len(support)), support.shape[1])
    images = {"support_images": support.reshape(-1, *support.shape[2:]), "query_images": queries}
    unit = {name: pixels / np.float32(255) for name, pixels in images.items()}
    return unit | {"labels": labels} | numbers


@pytest.mark.parametrize(("num_classes", "num_shots"), [(3, 2), (3, 1), (2, 3)])
def test_a_server_answers_to_the_bit_what_the_classifier_answers(
    server, classifier, drawings, num_classes, num_shots
):
    support, queries = drawings[:num_classes, :num_shots], drawings[:, 3]
    right = classifier.classify(support, queries, seed=2**40 + 5)
    np.testing.assert_allclose(right.sum(-1), 1, atol=1e-6)
    for name, request in (("classify", _request), ("classify_tensor", _tensors)):
        answer = server.predict(name, **request(support, queries, seed=2**40 + 5))
        np.testing.assert_array_equal(answer["probabilities"], right)
    default = server.predict("serving_default", **_request(support, queries))["probabilities"]
    np.testing.assert_array_equal(default, classifier.classify(support, queries))
    if (
        num_shots > 1
    ):  # Otherwise every batch is the whole support, and the seed makes no difference.
        assert np.abs(default - right).max() > 1e-4


def test_a_server_answers_what_the_evaluation_judges(server, classifier, drawings):
    """Up to the division by a sum of 1, which the evaluation does without."""
    support, queries = drawings[:, :2], drawings[:, 2]
    judged = classifier.answer(support, queries, stateless_seed(5)).plain
    answer = server.predict("classify_tensor", **_tensors(support, queries, seed=5))
    np.testing.assert_allclose(answer["probabilities"], judged, rtol=1e-6)


def test_without_the_moments_of_training_it_would_answer_otherwise(server, classifier, drawings):
    support, queries = drawings[:, :2], drawings[:, 3]
    right = server.predict("classify", **_request(support, queries))["probabilities"]
    start = classifier.start
    forgotten = start._replace(carried=tuple(map(tf.zeros_like, start.carried)))
    answers = classifier._predictor(forgotten, support, queries, stateless_seed(0)).plain
    assert np.abs(answers - right).max() > 0.01


def test_no_steps_give_the_unadapted_answer_and_each_query_is_answered_by_itself(
    server, classifier, drawings
):
    support, queries = drawings[:, :2], drawings[:, 3]
    answer = server.predict("classify", **_request(support, queries, num_inner_steps=0))
    unadapted = classifier.answer(support, queries, stateless_seed(0)).unadapted
    np.testing.assert_allclose(answer["probabilities"], unadapted, rtol=1e-5)
    whole = server.predict("classify", **_request(support, queries))["probabilities"]
    for number, row in enumerate(whole):
        alone = server.predict("classify", **_request(support, queries[number : number + 1]))
        # Some processors multiply one row by another kernel than several: a rounding apart.
        np.testing.assert_allclose(alone["probabilities"], [row], rtol=1e-6)


def test_an_export_with_another_number_of_inner_steps_answers_as_the_classifier_with_that_many(
    classifier_run, classifier, drawings, tmp_path
):
    request = CLASSIFIER._replace(
        run=classifier_run, num_inner_steps=1, signature_names=("classify_tensor",)
    )
    server = serve(saved_model.export(request, tmp_path / "figr", None))
    support, queries = drawings[:, :2], drawings[:, 3]
    answer = server.predict("classify_tensor", **_tensors(support, queries))["probabilities"]
    np.testing.assert_array_equal(answer, classifier.classify(support, queries, num_inner_steps=1))
    assert np.abs(answer - classifier.classify(support, queries)).max() > 1e-4


def test_requests_leave_nothing_behind(server, drawings):
    request = _request(drawings[:, :2], drawings[:, 3])
    first = server.predict("classify", **request)["probabilities"]
    server.predict("classify", **_request(drawings[::-1, 1:3], drawings[:, 0]))
    np.testing.assert_array_equal(server.predict("classify", **request)["probabilities"], first)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"labels": [0, 0, 1, 1, 2]}, "labels must be a list of one number per support image"),
        ({"labels": [[0, 0, 1, 1, 2, 2]]}, "labels must be a list of one number per support"),
        ({"labels": [0, 0, 1, 1, 2, 3]}, "labels must be from 0 to 2, for 2 to 3 classes"),
        ({"labels": [-1, 0, 1, 1, 2, 2]}, "labels must be from 0 to 2"),
        ({"labels": [0] * 6}, "labels must name 2 to 3 classes. Received: 1"),
        ({"labels": [0, 0, 0, 2, 2, 2]}, "labels leave a class without images"),
        ({"num_inner_steps": 21}, "num_inner_steps must be from 0 to 20. Received: 21"),
        ({"seed": -1}, "seed must be from 0 to"),
        ({"support_images": np.ones((6, 15, 16, 1))}, "support_images.*height, width"),
        ({"query_images": np.ones((1, 28, 28, 1))}, "query_images.*height, width or channels"),
        ({"query_images": np.ones((0, 16, 16, 1))}, "query_images.*with n from 1 to 64"),
        ({"query_images": np.ones((65, 16, 16, 1))}, "query_images.*Received: 65"),
        ({"query_images": np.full((1, 16, 16, 1), 255.0)}, "query_images must lie in"),
        ({"support_images": np.full((6, 16, 16, 1), np.nan)}, "support_images must be finite"),
        (
            {"support_images": np.ones((8, 16, 16, 1)), "labels": [0] * 7 + [1]},
            "a class may have 1 to 6 support images. Received: 7",
        ),
    ],
)
def test_bad_requests_end_with_a_sentence(server, drawings, inputs, sentence):
    given = _tensors(drawings[:, :2], drawings[:, 3]) | inputs
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        server.predict("classify_tensor", **given)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"query_bytes": [b"GIF89a"]}, "query 1 is not a PNG file"),
        ({"query_bytes": []}, "query_bytes must hold 1 to 64 items"),
        ({"image_bytes": [b""]}, "image 1 is empty"),
    ],
)
def test_bad_files_end_with_a_sentence(server, drawings, inputs, sentence):
    given = _request(drawings[:, :2], drawings[:, 3]) | inputs
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        server.predict("classify", **given)


def test_the_contract_says_what_the_graph_enforces_and_the_card_what_it_is(exported, classifier):
    assert exported.difference == 0
    contract = json.loads((exported.path / "assets.extra/contract.json").read_text())
    assert contract["kind"] == "classify"
    assert sorted(contract["signatures"]) == ["classify", "classify_tensor", "serving_default"]
    assert contract["limits"]["num_classes"] == {"minimum": 2, "maximum": 3}
    assert contract["limits"]["num_queries"]["maximum"] == LIMITS.max_num_queries
    assert "num_samples" not in contract["limits"]
    assert contract["defaults"] == {"num_inner_steps": 4, "seed": 0}
    assert contract["model"]["weights_sha256"] == classifier.weights_sha256
    card = (exported.path / "assets.extra/MODEL_CARD.md").read_text()
    assert "2 to 3 classes" in card
    assert "figr_tf.evaluate_classifier" in card


def test_the_documented_way_works_in_other_tensorflow_code_without_this_project(exported):
    example = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/saved-model.md").read_text(), re.DOTALL
    )[2]
    # The size first: the folder's name may hold such digits, too.
    example = example.replace("28", "16").replace("models/omniglot-3way/1", str(exported.path))
    code = f"""
import sys
sys.modules["figr_tf"] = sys.modules["keras"] = None
import tensorflow as tf
{example}
print(probabilities.shape)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=120
    )
    assert result.stdout == "(1, 3)\n", result.stderr


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": "tasks"}, "is a classifier. Leave --kind and --num_samples away"),
        ({"num_samples": 4}, "is a classifier. Leave --kind and --num_samples away"),
        ({"signature_names": ("generate",)}, "has classify, classify_tensor"),
        ({"num_inner_steps": 21}, "num_inner_steps=21 is above --max_num_inner_steps=20"),
    ],
)
def test_what_a_classifier_does_not_have_is_refused(classifier_run, tmp_path, wrong, sentence):
    request = CLASSIFIER._replace(run=classifier_run, **wrong)
    with pytest.raises(UserError, match=sentence):
        saved_model.export(request, tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])


def test_signatures_of_a_classifier_are_refused_for_a_model_that_draws(run_folder, tmp_path):
    request = REQUEST._replace(run=run_folder, signature_names=("classify",))
    with pytest.raises(UserError, match="has generate, generate_tensor, adapt, sample"):
        saved_model.export(request, tmp_path, None)


def test_an_export_that_lost_the_moments_is_refused(classifier_run, tmp_path, monkeypatch):
    make = classifying.make_parts

    def forgetful(model, limits, num_inner_steps):
        parts = make(model, limits, num_inner_steps)
        for variable in parts.module._carried:
            variable.assign(tf.zeros_like(variable))
        return parts

    monkeypatch.setattr(classifying, "make_parts", forgetful)
    with pytest.raises(UserError, match="differs from the model"):
        saved_model.export(CLASSIFIER._replace(run=classifier_run), tmp_path, None)
