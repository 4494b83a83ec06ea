"""In a browser: strokes and files become drawings like those that the model was trained on."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from serving.demo_app import description
from tests.serving.demo import hand
from tests.serving.demo.conftest import SIZE

pytestmark = pytest.mark.whole

# 1st and 99th percentile of 4,000 drawings of Omniglot's background set, resized to 32×32 as
# `figr_common` does; measured as below. Their paper is 255 and their ink dark.
OMNIGLOT = {
    "extent": (0.312, 0.907),
    "middle": (0.344, 0.625),
    "mass": (0.007, 0.148),
    "width": (0.033, 0.074),
    "darkness": (0.671, 0.973),
}


def statistics(image: np.ndarray) -> dict[str, list[float]]:
    """Of uint8 [S, S], as fractions of the side: the ink's longer side, the middle of its box, its
    share of the square, the strokes' width (twice the ink over its outline, which is its total
    variation), and how dark they are.
    """
    ink = 1 - image / 255.0
    rows, columns = np.nonzero(ink > 0.25)
    ends = [(values.min(), values.max() + 1) for values in (rows, columns)]
    padded = np.pad(ink, 1)
    outline = np.hypot(np.diff(padded, axis=1)[:-1], np.diff(padded, axis=0)[:, :-1]).sum()
    side = image.shape[0]
    return {
        "extent": [max(high - low for low, high in ends) / side],
        "middle": [(low + high) / 2 / side for low, high in ends],
        "mass": [ink.mean()],
        "width": [2 * ink.sum() / outline / side],
        "darkness": [np.percentile(ink[ink > 0.25], 75)],
    }


@pytest.mark.parametrize("shape", hand.STROKES)
def test_a_stroke_arrives_as_a_drawing_like_omniglots(page, gateway, shape):
    hand.draw_four(page, shape)
    hand.expect_drawings(page)
    support = gateway.link.asked[-1].support_images
    assert support.shape == (4, SIZE, SIZE, 1)
    assert np.median(support) == 255
    for name, values in statistics(support[0, ..., 0]).items():
        low, high = OMNIGLOT[name]
        assert all(low <= value <= high for value in values), (name, values)
    middle = statistics(support[0, ..., 0])["middle"]
    assert np.abs(np.array(middle) - 0.5).max() < 0.04
    np.testing.assert_array_equal(hand.pixels(page, ".mirror"), support[0, ..., 0])
    np.testing.assert_array_equal(hand.pixels(page, "#support canvas"), support[0, ..., 0])


def test_a_stroke_is_as_wide_and_large_as_the_data_set_has_them(visit, start_gateway):
    found = {}
    for dataset in description.DATASETS:
        served = start_gateway(training={"dataset": dataset})
        page = visit(served.url)
        hand.draw_four(page)
        hand.expect_drawings(page)
        found[dataset] = statistics(served.link.asked[-1].support_images[0, ..., 0])
    expected = {"omniglot": (0.66, 0.055), "glyphs": (0.84, 0.063), "mnist": (0.73, 0.086)}
    for dataset, (extent, width) in expected.items():
        assert found[dataset]["extent"][0] == pytest.approx(extent, abs=0.07), dataset
        assert found[dataset]["width"][0] == pytest.approx(width, rel=0.2), dataset


def test_undo_clear_and_mirror(page):
    ink, undo = (
        hand.pad(page, 1).locator(".ink"),
        hand.pad(page, 1).get_by_role("button", name="Undo"),
    )
    hand.draw(page, 1)
    two = hand.pixels(page, ".mirror")
    expect(ink).to_have_attribute("aria-label", "Square 1, 2 strokes")
    undo.click()
    expect(ink).to_have_attribute("aria-label", "Square 1, 1 stroke")
    assert (hand.pixels(page, ".mirror") != two).any()
    hand.pad(page, 1).get_by_role("button", name="Clear").click()
    expect(ink).to_have_attribute("aria-label", "Square 1, empty")
    assert (hand.pixels(page, ".mirror") == 255).all()
    undo.click()
    expect(ink).to_have_attribute("aria-label", "Square 1, 1 stroke")


def test_squares_can_be_added_up_to_eight(page, gateway):
    for _ in range(4):
        page.get_by_role("button", name="Add a square").click()
    expect(page.locator(".pad")).to_have_count(8)
    expect(page.get_by_role("button", name="Add a square")).to_be_hidden()
    page.get_by_label("Example: Tree").click()
    hand.expect_drawings(page)
    support = gateway.link.asked[-1].support_images
    assert len(np.unique(support.reshape(8, -1), axis=0)) == 8


def _light_on_dark() -> np.ndarray:
    """A white corner, small and off-centre, on black; 200 × 300."""
    image = np.zeros((200, 300), np.uint8)
    image[20:60, 200:204] = image[56:60, 200:240] = 255
    return image


def _in_training_form() -> np.ndarray:
    """A drawing of 105 × 105 such as Omniglot's, a little off the middle."""
    image = np.full((105, 105), 255, np.uint8)
    image[20:80, 30:34] = image[76:80, 30:70] = 0
    return image


def test_files_can_be_dropped_anywhere(page, gateway):
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            const file = name => new File([new Uint8Array(bytes)], name, { type: "image/png" });
            ["a.png", "b.png", "c.png", "d.png"].forEach(name => transfer.items.add(file(name)));
            return transfer;
        }""",
        list(hand.file_of(_in_training_form())["buffer"]),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    hand.expect_drawings(page)
    expected = np.asarray(
        Image.fromarray(_in_training_form()).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    )
    support = gateway.link.asked[-1].support_images
    assert len(support) == 4
    assert np.abs(support[2, ..., 0].astype(int) - expected).max() <= 1, (
        "as figr_common reads the same file"
    )


def test_a_file_of_light_ink_small_and_off_centre_is_turned_round_cut_out_and_centred(
    page, gateway
):
    page.locator("#files").set_input_files([hand.file_of(_light_on_dark())] * 4)
    hand.expect_drawings(page)
    found = statistics(gateway.link.asked[-1].support_images[0, ..., 0])
    assert found["extent"][0] == pytest.approx(0.66, abs=0.05)
    assert np.abs(np.array(found["middle"]) - 0.5).max() < 0.04
    assert found["mass"][0] < 0.15


def _white_on_transparent() -> np.ndarray:
    image = np.zeros((105, 105, 4), np.uint8)
    image[20:80, 30:34] = image[76:80, 30:70] = 255
    return image


def _pencil_on_grey_paper() -> np.ndarray:
    """Lit from the left, with grain."""
    light = np.linspace(220, 170, 105)[None] * np.ones((105, 1))
    light += np.random.default_rng(0).normal(0, 3, light.shape)
    return np.where(_in_training_form() == 0, light - 80, light).astype(np.uint8)


@pytest.mark.parametrize(
    "file", [_white_on_transparent(), _pencil_on_grey_paper()], ids=["transparent", "pencil"]
)
def test_a_file_on_transparent_or_grey_paper_gives_what_black_on_white_gives(page, gateway, file):
    page.locator("#files").set_input_files([hand.file_of(file)] * 4)
    hand.expect_drawings(page)
    expected = np.asarray(
        Image.fromarray(_in_training_form()).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    )
    found = gateway.link.asked[-1].support_images[0, ..., 0]
    assert (found[expected == 255] >= 250).all()
    assert np.abs(found - expected.astype(int)).mean() < 4


def test_files_that_cannot_be_used_are_named_and_the_others_are_taken(page):
    blank = np.full((50, 50), 130, np.uint8)
    text = {"name": "letter.txt", "mimeType": "text/plain", "buffer": b"Dear Sir or Madam"}
    page.locator("#files").set_input_files(
        [text, hand.file_of(blank, "fog.png"), hand.file_of(_in_training_form())]
    )
    expect(page.get_by_role("alert")).to_contain_text("letter.txt is not an image")
    expect(page.get_by_role("alert")).to_contain_text("fog.png: It shows no drawing")
    expect(hand.pad(page, 1).locator(".ink")).to_have_attribute("aria-label", "Square 1, an image")
    expect(hand.pad(page, 2).locator(".ink")).to_have_attribute("aria-label", "Square 2, empty")


def test_more_files_than_squares_make_squares_up_to_eight(page):
    page.locator("#files").set_input_files([hand.file_of(_in_training_form())] * 9)
    expect(page.locator(".pad")).to_have_count(8)
    expect(page.get_by_role("alert")).to_contain_text("Only 8 drawings fit")


def test_pillows_resizing_is_repeated_to_one_grey_level(page):
    rng = np.random.default_rng(0)
    for size, target in ((105, 32), (64, 32), (20, 32), (105, 64)):
        image = rng.integers(0, 256, (size, size), np.uint8)
        script = """async ([size, pixels, target]) => {
            const { resized } = await import("/page/prepare.js");
            const image = { size, pixels: Uint8Array.from(pixels) };
            return Array.from(resized(image, target).pixels);
        }"""
        found = np.array(page.evaluate(script, [size, image.ravel().tolist(), target])).reshape(
            target, target
        )
        expected = np.asarray(
            Image.fromarray(image).resize((target, target), Image.Resampling.BILINEAR)
        )
        assert np.abs(found - expected.astype(int)).max() <= 1, (size, target)
