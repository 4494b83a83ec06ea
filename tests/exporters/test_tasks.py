"""The kind "tasks": many classes per request, which a server may batch."""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.data import glyphs
from tests.exporters.conftest import serve


@pytest.fixture(scope="module")
def tasks_server(exported_tasks):
    return serve(exported_tasks)


@pytest.fixture(scope="module")
def tasks():
    """[3, 2, 16, 16, 1] in [0, 1]."""
    return (
        np.stack([glyphs.glyph_images(c, 2, 16, seed=0) for c in range(3)]).astype(np.float32) / 255
    )


def test_every_input_and_output_has_the_task_axis_first(tasks_server, exported_tasks):
    signature = tasks_server.signatures["generate_tasks"]
    shapes = {
        n: [axis.size for axis in info.tensor_shape.dim] for n, info in signature.inputs.items()
    }
    assert shapes == {"support_images": [-1, -1, 16, 16, 1], "seed": [-1]}
    assert [axis.size for axis in signature.outputs["images"].tensor_shape.dim] == [
        -1,
        4,
        16,
        16,
        1,
    ]
    assert not signature.defaults
    assert exported_tasks.contract["kind"] == "tasks"
    contract = exported_tasks.contract
    assert contract["defaults"] == {}
    for name, fixed in (("num_samples", 4), ("num_inner_steps", 2)):
        assert contract["limits"][name] == {"minimum": fixed, "maximum": fixed}
    card = " ".join((exported_tasks.path / "assets.extra/MODEL_CARD.md").read_text().split())
    assert "adapts to them by 2 inner steps, and draws" in card
    assert "One request takes 1 to 3 classes of 1 to 6 images, and draws 4 samples of each." in card


def test_each_task_gets_what_figr_tf_generate_draws_for_it_alone(tasks_server, model, tasks):
    images = tasks_server.predict("generate_tasks", support_images=tasks, seed=[5, 2**40, 5])[
        "images"
    ]
    for task, seed, drawn in zip(tasks, (5, 2**40, 5), images, strict=True):
        expected = model.generate(np.rint(task * 255).astype(np.uint8), 4, seed)
        np.testing.assert_allclose(drawn * 255, expected, atol=1)


def test_two_requests_in_one_batch_are_two_requests(tasks_server, tasks):
    together = tasks_server.predict("generate_tasks", support_images=tasks, seed=[1, 2, 3])[
        "images"
    ]
    apart = [
        tasks_server.predict("generate_tasks", support_images=tasks[:1], seed=[1])["images"],
        tasks_server.predict("generate_tasks", support_images=tasks[1:], seed=[2, 3])["images"],
    ]
    np.testing.assert_array_equal(together, np.concatenate(apart))


@pytest.mark.parametrize(
    ("count", "seeds", "sentence"),
    [
        (0, [], "with T from 1 to 3. Received: 0"),
        (4, [0] * 4, "with T from 1 to 3. Received: 4"),
        (2, [0], "seed must hold one item per task"),
        (2, [0, -1], "each seed must be from 0 to 9007199254740991"),
        (2, [[0], [1]], "seed must be a list"),
    ],
)
def test_bad_tasks_are_refused(tasks_server, count, seeds, sentence):
    images = np.full([count, 2, 16, 16, 1], 0.5)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        tasks_server.predict("generate_tasks", support_images=images, seed=np.asarray(seeds))
    assert sentence in caught.value.message


def test_a_task_without_images_is_refused(tasks_server):
    with pytest.raises(tf.errors.InvalidArgumentError, match="with n from 1 to 6"):
        tasks_server.predict(
            "generate_tasks", support_images=np.zeros([2, 0, 16, 16, 1]), seed=[0, 0]
        )
