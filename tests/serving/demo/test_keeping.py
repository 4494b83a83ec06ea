"""In a browser: what is shared and taken away."""

import io
import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.serving.demo import fakes, hand

pytestmark = pytest.mark.whole


def test_a_shared_link_gives_the_same_drawings_to_somebody_else(page, visit, gateway):
    for number in range(1, 4):
        hand.draw(page, number, "wave")
    noise = np.full((32, 32), 255, np.uint8)
    noise[8:24, 8:24] = np.random.default_rng(0).integers(0, 256, (16, 16))
    page.locator("#files").set_input_files([hand.file_of(noise)])
    page.get_by_label("Seed").fill("11")
    hand.expect_drawings(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#status")).to_have_text("Link copied.")
    link = page.evaluate("() => navigator.clipboard.readText()")
    asked = len(gateway.link.asked)
    friend = visit(link)
    hand.expect_drawings(friend)
    assert hand.marks(friend) == (10, 11, 0)
    first, second = gateway.link.asked[asked - 1], gateway.link.asked[-1]
    np.testing.assert_array_equal(first.support_images, second.support_images)
    np.testing.assert_array_equal(second.support_images[3, ..., 0], noise)


def test_a_link_to_what_came_of_fewer_than_four_drawings_shows_it(page, visit, gateway):
    hand.draw(page, 2)
    page.get_by_role("button", name="Draw 64 more").click()
    hand.expect_drawings(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#told")).to_have_text("Link copied.")
    friend = visit(page.evaluate("() => navigator.clipboard.readText()"))
    hand.expect_drawings(friend)
    assert len(gateway.link.asked) == 2
    assert len(gateway.link.asked[1].support_images) == 1


@pytest.mark.parametrize(
    "part", ["steps=999&samples=0&seed=x", "d=AAAA.....%%%.c", "d=cwA", "d=" + "c" * 9999, "=&=&&"]
)
def test_a_damaged_link_opens_a_page_that_works(page, gateway, part):
    page.goto("about:blank")
    page.goto(f"{gateway.url}#{part}")
    page.get_by_label("Example: Fish").click()
    expect(page.locator("#status")).to_have_text(re.compile(r"^\d+ drawings after"))


def test_the_picture_and_all_images_can_be_saved(page, gateway):
    page.get_by_label("Example: Fish").click()
    hand.expect_drawings(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    assert download.value.suggested_filename == "figr-seed-0-steps-10.png"
    picture = np.asarray(Image.open(download.value.path()).convert("L")).astype(int)
    cell = 3 * 32 + 4
    assert picture.shape == (9 * cell + 8, 8 * cell + 4)
    support = gateway.link.asked[-1].support_images[..., 0]
    np.testing.assert_array_equal(picture[4 : 4 + 96, 4 : 4 + 96][1::3, 1::3], support[0])
    last_row, second = 8 * cell + 8, cell + 4
    expected = fakes.answer(gateway.link.asked[-1])[57, ..., 0]
    np.testing.assert_array_equal(
        picture[last_row : last_row + 96, second : second + 96][1::3, 1::3], expected
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Save all (zip)").click()
    archive = zipfile.ZipFile(download.value.path())
    assert archive.testzip() is None
    assert len(archive.namelist()) == 68
    np.testing.assert_array_equal(_image(archive, "yours-004.png"), support[3])
    np.testing.assert_array_equal(_image(archive, "sample-058.png"), expected)


def _image(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(archive.read(name))))
