"""The export of the network that redraws: what a server gets, against the model itself."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import figr_tf
from exporters import model_card, saved_model
from exporters.contract import Facts
from figr_tf import models
from figr_tf.core.errors import UserError
from figr_tf.evaluation import samplers
from tests.conftest import ROOT
from tests.exporters.conftest import REQUEST, read_png, serve

SHIPPED = REQUEST._replace(run=models.REDRAWING, signature_names=())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return saved_model.export(SHIPPED, tmp_path_factory.mktemp("models") / "figr", None)


@pytest.fixture(scope="module")
def server(exported):
    return serve(exported)


@pytest.fixture(scope="module")
def shipped():
    return figr_tf.load(models.REDRAWING)


@pytest.fixture(scope="module")
def files():
    return [path.read_bytes() for path in sorted((ROOT / "examples/fish").iterdir())]


def test_signatures_have_no_inner_steps_and_the_contract_says_the_same(server, exported):
    assert sorted(server.signatures) == ["generate", "generate_tensor", "serving_default"]
    assert sorted(server.signatures["generate"].inputs) == ["image_bytes", "num_samples", "seed"]
    contract = json.loads((exported.path / "assets.extra/contract.json").read_text())
    assert contract["defaults"] == {"num_samples": 4, "seed": 0}
    assert not {"num_inner_steps", "num_tasks"} & set(contract["limits"])
    assert contract["model"]["weights_sha256"] == figr_tf.load(models.REDRAWING).weights_sha256


def test_a_server_draws_what_the_model_draws(server, shipped, files):
    support = shipped.read_support(ROOT / "examples/fish")
    right = shipped.generate(support, 9, seed=2**40 + 5).astype(int)
    drawn = server.predict("generate", image_bytes=files, num_samples=9, seed=2**40 + 5)[
        "png_bytes"
    ]
    assert np.abs(np.stack([read_png(data) for data in drawn]).astype(int) - right).max() <= 1
    unit = support / np.float32(255)
    images = server.predict("generate_tensor", support_images=unit, num_samples=9, seed=2**40 + 5)[
        "images"
    ]
    np.testing.assert_allclose(255 * images, right, atol=0.51)
    assert len(server.predict("serving_default", image_bytes=files)["png_bytes"]) == 4


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"num_samples": 33}, "num_samples must be from 1 to 32. Received: 33"),
        ({"num_samples": 0}, "num_samples must be from 1 to 32. Received: 0"),
        ({"seed": -1}, "seed must be from 0 to"),
        ({"support_images": np.ones((0, 32, 32, 1))}, "with n from 1 to 6. Received: 0"),
        ({"support_images": np.ones((7, 32, 32, 1))}, "with n from 1 to 6. Received: 7"),
        ({"support_images": np.ones((2, 32, 32, 3))}, "height, width or channels differ"),
        ({"support_images": np.full((2, 32, 32, 1), 1.5)}, "must lie in"),
        ({"support_images": np.full((2, 32, 32, 1), np.nan)}, "must be finite"),
    ],
)
def test_bad_requests_end_with_a_sentence(server, inputs, sentence):
    given = {"support_images": np.ones((2, 32, 32, 1))} | inputs
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        server.predict("generate_tensor", **given)


def test_blank_paper_gives_finite_blank_paper(server):
    images = server.predict(
        "generate_tensor", support_images=np.ones((2, 32, 32, 1)), num_samples=8
    )["images"]
    np.testing.assert_array_equal(images, 1)


def test_the_documented_way_works_in_other_tensorflow_code_without_this_project(exported):
    example = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/saved-model.md").read_text(), re.DOTALL
    )[1]
    code = f"""
import sys
sys.modules["figr_tf"] = sys.modules["keras"] = None
import tensorflow as tf
support_images = tf.ones([3, 32, 32, 1])
{example.replace("models/omniglot-32-redraw/1", str(exported.path))}
print(images.shape)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=120
    )
    assert result.stdout == "(16, 32, 32, 1)\n", result.stderr


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "tasks"}, {"num_inner_steps": 10}, {"signature_names": ("generate", "adapt")}],
)
def test_what_needs_an_inner_loop_is_refused(wrong, tmp_path):
    with pytest.raises(UserError, match="omniglot-32-redraw: has no inner loop"):
        saved_model.export(SHIPPED._replace(**wrong), tmp_path, None)


def test_a_report_that_is_made_now_is_of_what_is_exported(exported):
    facts = samplers.choose(models.REDRAWING, None, None, None, 64, []).facts
    exported_facts = exported.contract["model"]
    assert all(facts[key] == exported_facts[key] for key in ("meta_step", "weights_sha256"))


def test_its_card_holds_the_evaluation_and_refuses_one_of_another_model(exported, tmp_path):
    contract = exported.contract
    facts = Facts((32, 32, 1), {}, {}, contract["model"], contract["training"])
    path = ROOT / "figr_tf/pretrained/omniglot-32-redraw/evaluation.json"
    card = model_card.write(contract, model_card.read_report(path, "generate", facts))
    assert "| model | 0.73" in card
    assert "200 held-out classes" in card
    report = json.loads(path.read_text())
    report["judged"]["weights_sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(report))
    with pytest.raises(UserError, match="judges weights_sha256 0000"):
        model_card.read_report(tmp_path / "other.json", "generate", facts)


def test_the_referee_judges_the_export_too(exported, shipped):
    where = None, str(exported.path), None, None
    with pytest.raises(UserError, match=r"--num_inner_steps=1,5: .* has no inner loop"):
        samplers.choose(*where, num_samples=32, steps=[1, 5])
    judged = samplers.choose(*where, num_samples=32, steps=[])
    support = shipped.read_support(ROOT / "examples/key")
    rows = judged.sampler(support, None, 3)
    assert list(rows) == [judged.row] == ["model"]
    assert np.abs(rows["model"].astype(int) - shipped.generate(support, 32, 3)).max() <= 1
