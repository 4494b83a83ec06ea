"""In a browser: a model of coloured pictures gets colours, and the page shows them."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.serving.demo import hand
from tests.serving.demo.conftest import SIZE

pytestmark = pytest.mark.whole


def _flag() -> np.ndarray:
    """uint8 [S, S, 3]: red and blue fields on white paper."""
    image = np.full((SIZE, SIZE, 3), 255, np.uint8)
    image[8:24, 4:16] = (220, 10, 20)
    image[8:24, 16:28] = (10, 20, 220)
    return image


def _coloured(page, selector: str) -> np.ndarray:
    """uint8 [S, S, 3] of the first such canvas."""
    script = """c => Array.from(c.getContext("2d").getImageData(0, 0, c.width, c.height).data)
        .filter((_, i) => i % 4 < 3)"""
    values = np.array(page.locator(selector).first.evaluate(script), np.uint8)
    return values.reshape(SIZE, SIZE, 3)


@pytest.fixture
def gateway(start_gateway):
    return start_gateway(channels=3)


def test_a_coloured_file_reaches_the_model_in_its_colours_and_the_page_shows_them(page, gateway):
    page.locator("#files").set_input_files([hand.file_of(_flag())] * 3)
    hand.draw(page, 4)
    hand.expect_drawings(page)
    support = gateway.link.asked[-1].support_images
    assert support.shape == (4, SIZE, SIZE, 3)
    np.testing.assert_array_equal(support[0], _flag())
    stroke = support[3]
    assert stroke.min() < 100  # A stroke is ink,
    assert (stroke == stroke[..., :1]).all()  # of no colour.
    for selector in (".mirror", "#support canvas"):
        np.testing.assert_array_equal(_coloured(page, selector), _flag())
    # The fake model answers with its first drawing, and writes into the first row alone.
    np.testing.assert_array_equal(_coloured(page, "#grid canvas")[1:], _flag()[1:])


def test_a_link_keeps_the_colours(page, gateway, visit):
    page.locator("#files").set_input_files([hand.file_of(_flag())])
    expect(hand.pad(page, 1).locator(".ink")).to_have_attribute("aria-label", "Square 1, an image")
    page.wait_for_function("() => location.hash.includes('&d=')")
    other = visit(page.url)
    other.locator(".pad").nth(3).wait_for()
    expect(hand.pad(other, 1).locator(".ink")).to_have_attribute("aria-label", "Square 1, an image")
    np.testing.assert_array_equal(_coloured(other, ".mirror"), _flag())
