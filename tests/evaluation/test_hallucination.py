"""Whether samples help to classify, measured on classes whose answer is known."""

import numpy as np
import pytest
from PIL import Image

from figr_tf.core.errors import DataError, UserError
from figr_tf.evaluation import hallucination
from figr_tf.evaluation.episodes import draw_episode, drawings_sha256, to_json
from figr_tf.evaluation.hallucination import WITHOUT, measure
from figr_tf.evaluation.sources import Source, of_folder
from tests.commands import run_here


def _embed(images):
    """The pixels themselves."""
    return images.reshape(len(images), -1).astype(np.float32)


def _classes(noise):
    """20 classes of 12 drawings, each a grey pattern of its own and noise."""
    rng = np.random.default_rng(0)
    centres = rng.integers(100, 150, (20, 1, 4, 4, 1))
    drawings = np.clip(centres + rng.normal(0, noise, (20, 12, 4, 4, 1)), 0, 255)
    return {f"class{c:02d}": drawings[c].astype(np.uint8) for c in range(20)}


def _source(draw):
    return Source(draw, "a test's")


COPIES = _source(lambda drawings, episode, m, seed: drawings[np.repeat(episode.support, m)])
REAL = _source(lambda drawings, episode, m, seed: drawings[episode.held_out[:m]])


@pytest.fixture(scope="module")
def found():
    sources = {"copies": COPIES, "real": REAL}
    return measure(_classes(noise=20), sources, _embed, num_shots=1, num_samples=5, seed=3)


def test_copies_add_nothing(found):
    np.testing.assert_array_equal(found.per_class["copies"], found.per_class[WITHOUT])


def test_more_real_drawings_help(found):
    right = {name: per_class.mean() for name, per_class in found.per_class.items()}
    assert 0.2 < right[WITHOUT] < right["real"] - 0.2


def test_one_drawing_alone_is_the_nearest_neighbour_rule(found):
    """With as many classes as ways, each query is told from all of them."""
    classes = _classes(noise=20)
    episodes = [draw_episode(name, 12, 1, 3) for name in classes]
    pixels = [_embed(drawings) for drawings in classes.values()]
    ones = np.stack([p[e.support[0]] for p, e in zip(pixels, episodes, strict=True)])
    for c, (p, episode) in enumerate(zip(pixels, episodes, strict=True)):
        gaps = np.linalg.norm(p[episode.reference][:, None] - ones[None], axis=-1)
        assert found.per_class[WITHOUT][c] == np.mean(gaps.argmin(1) == c)


def test_the_table_gives_the_gain_class_by_class(found):
    gain = found.per_class["real"] - found.per_class[WITHOUT]
    margin = 2.093 * gain.std(ddof=1) / 20**0.5  # Student's, of a printed table
    row = next(line for line in found.to_markdown().splitlines() if line.startswith("| real"))
    assert row.endswith(f"| {100 * gain.mean():+.1f} ± {100 * margin:.1f} |")
    assert "| +0.0 ± 0.0 |" in found.to_markdown()  # Of the copies.


@pytest.fixture
def written(tmp_path):
    """Real drawings as somebody's samples, and the file of the episodes that they are for."""
    classes = _classes(noise=20)
    episodes = [draw_episode(name, 12, 1, seed=3) for name in classes]
    for episode in episodes:
        folder = tmp_path / "mine" / episode.class_name
        folder.mkdir(parents=True)
        for i, image in enumerate(classes[episode.class_name][episode.held_out[:5], ..., 0]):
            Image.fromarray(image).save(folder / f"{i}.png")
    facts = {"drawings_sha256": drawings_sha256(classes)}
    (tmp_path / "one.json").write_text(to_json(episodes, facts))
    return of_folder(tmp_path / "mine", tmp_path / "one.json", classes)


def test_episodes_of_the_same_drawings_in_another_order_are_refused(written, tmp_path):
    turned = {name: drawings[::-1] for name, drawings in _classes(noise=20).items()}
    with pytest.raises(DataError, match=r"one\.json: was written for other drawings or .* order"):
        of_folder(tmp_path / "mine", tmp_path / "one.json", turned)


def test_images_made_elsewhere_have_a_row_as_those_drawn_here(found, written):
    sources = {"mine": written}
    mine = measure(_classes(noise=20), sources, _embed, num_shots=1, num_samples=5, seed=3)
    np.testing.assert_array_equal(mine.per_class["mine"], found.per_class["real"])


@pytest.mark.parametrize(
    ("seed", "num_samples", "said"),
    [(4, 5, "no episode of class00 with this support"), (3, 6, r"class00: 5 images; .* by 6")],
)
def test_images_for_other_supports_or_too_few_of_them_are_refused(written, seed, num_samples, said):
    sources = {"mine": written}
    with pytest.raises(DataError, match=said):
        measure(_classes(noise=20), sources, _embed, 1, num_samples, seed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--samples=a"], "--samples and --episodes go together"),
        (["--samples=a", "--episodes=b", "--seed=1"], "--seed=1: --samples are for the episodes"),
    ],
)
def test_samples_need_the_episodes_that_they_are_for(arguments, said):
    with pytest.raises(UserError, match=said):
        run_here(hallucination, *arguments)
