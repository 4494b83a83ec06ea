"""The second tab in a browser: three shapes, and a fourth drawing."""

import asyncio

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from serving.demo_app import description
from serving.demo_app.limits import VisitorLimits
from serving.errors import ServingError
from tests.serving import processes
from tests.serving.demo import fakes, hand
from tests.serving.demo.conftest import SIZE, fake_model

pytestmark = pytest.mark.whole

NARROW = {"width": 320, "height": 640}


@pytest.fixture
def gateway():
    """In front of a model that draws and a classifier of up to four shapes."""
    patient = VisitorLimits(burst=1000, deadline=10 * processes.START_TIMEOUT)
    contract = {"limits": {"num_classes": {"maximum": 4}}}
    described = description.describe_classifier(contract, 1, (SIZE, SIZE, 1), patient)
    started = fakes.GatewayThread(
        fakes.FakeLink(fake_model()), patient, fakes.FakeClassifier(described)
    )
    yield started
    started.close()


@pytest.fixture
def tab(visit, gateway):
    page = visit(gateway.url + "page/recognise.html")
    page.locator(".pad").nth(3).wait_for()
    return page


def _new_drawing(page):
    """The square of the fourth drawing; the shapes' come first in `.pad`, wherever it stands."""
    return page.locator("#new-pad .pad")


def _expect_answer(page, letter):
    expect(page.get_by_role("status")).to_contain_text(f"It is {letter}: 90 %")
    expect(page.locator("#answers .best .share")).to_have_text(f"{letter} 90 %")


def test_three_shapes_and_a_fourth_drawing_are_answered_by_the_shape_it_is(tab, gateway):
    for number, shape in enumerate(("cross", "corner", "wave"), 1):
        expect(tab.get_by_role("status")).to_contain_text(f"{4 - number} shape")
        hand.draw(tab, number, shape)
    expect(tab.get_by_role("status")).to_have_text("Now draw one of them again.")
    hand.draw(tab, 4, "wave")
    _expect_answer(tab, "C")
    asked = gateway.classifier.asked[-1]
    assert asked.support_images.shape == (3, SIZE, SIZE, 1)
    np.testing.assert_array_equal(hand.pixels(tab, ".mirror", 2), asked.support_images[2, ..., 0])
    np.testing.assert_array_equal(hand.pixels(tab, ".mirror", 3), asked.query_image[..., 0])
    hand.pad(tab, 4).get_by_role("button", name="Clear").click()
    hand.draw(tab, 4, "corner")
    _expect_answer(tab, "B")


def test_shapes_are_added_up_to_what_the_classifier_tells_apart_and_removed_down_to_two(tab):
    tab.get_by_role("button", name="Add a shape").click()
    expect(tab.locator("#pads .pad")).to_have_count(4)
    expect(tab.get_by_role("button", name="Add a shape")).to_be_hidden()
    expect(tab.locator("#pads .ink").nth(3)).to_be_focused()
    for count in (3, 2):
        tab.get_by_role("button", name="Remove the last").click()
        expect(tab.locator("#pads .pad")).to_have_count(count)
    expect(tab.get_by_role("button", name="Remove the last")).to_be_hidden()
    tab.get_by_role("button", name="Show me an example").click()
    _expect_answer(tab, "B")


def test_the_newest_drawing_wins_and_breaks_off_the_request_before(tab, gateway):
    gateway.classifier.hold = asyncio.Event()
    tab.get_by_role("button", name="Show me an example").click()
    expect(tab.get_by_role("status")).to_have_text("Learning your shapes …")
    processes.wait_for(lambda: len(gateway.classifier.asked) == 1)
    event, gateway.classifier.hold = gateway.classifier.hold, None
    _new_drawing(tab).get_by_role("button", name="Undo").click()
    expect(tab.get_by_role("status")).to_have_text("Now draw one of them again.")
    processes.wait_for(lambda: gateway.classifier.num_cancelled == 1)
    gateway.loop.call_soon_threadsafe(event.set)
    expect(tab.locator("#answers .best")).to_have_count(0)


def test_the_address_holds_all_drawings(tab, visit, gateway):
    tab.get_by_role("button", name="Show me an example").click()
    _expect_answer(tab, "B")
    tab.wait_for_function("() => location.hash.length > 50")
    again = visit(tab.url)
    _expect_answer(again, "B")
    mirrors = [[hand.pixels(page, ".mirror", i) for i in range(4)] for page in (tab, again)]
    np.testing.assert_array_equal(*mirrors)


def test_the_tabs_lead_to_each_other_where_there_is_a_classifier_and_are_hidden_elsewhere(
    visit, gateway, start_gateway
):
    page = visit(gateway.url)
    page.get_by_role("link", name="Recognise").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Draw three, and a fourth is recognised"
    )
    page.get_by_role("link", name="Draw more").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Draw four, get sixty-four")
    alone = visit(start_gateway().url)
    alone.locator(".pad").nth(3).wait_for()
    expect(alone.get_by_role("navigation")).to_be_hidden()
    alone.goto(alone.url.partition("#")[0] + "page/recognise.html")
    expect(alone.get_by_role("alert")).to_contain_text("There is no classifier here")


def test_it_works_with_the_keyboard_alone(tab, gateway):
    for number, keys in enumerate(("ArrowRight", "ArrowDown", "ArrowUp", "ArrowDown"), 1):
        ink = hand.pad(tab, number).locator(".ink")
        for _ in range(40):
            tab.keyboard.press("Tab")
            if ink.evaluate("element => element === document.activeElement"):
                break
        expect(ink).to_be_focused()
        tab.keyboard.press("Space")
        for _ in range(6):
            tab.keyboard.press(keys)
        tab.keyboard.press("Space")
    _expect_answer(tab, "B")


def test_a_classifier_that_fails_is_an_alert_and_is_asked_again_where_that_helps(tab, gateway):
    gateway.classifier.hold = None
    classify = gateway.classifier.request_probabilities

    async def fail(request, seconds):
        gateway.classifier.request_probabilities = classify
        raise ServingError("UNAVAILABLE", "the server is stopping")

    gateway.classifier.request_probabilities = fail
    tab.get_by_role("button", name="Show me an example").click()
    expect(tab.get_by_role("alert")).to_have_text("The server is stopping. Trying again by itself.")
    _expect_answer(tab, "B")
    expect(tab.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize(
    "settings",
    [{}, {"color_scheme": "dark"}, {"viewport": NARROW}],
    ids=["desktop", "dark", "narrow"],
)
def test_axe_finds_nothing_and_nothing_is_too_wide_or_too_small(visit, gateway, settings):
    page = visit(gateway.url + "page/recognise.html", **settings, reduced_motion="reduce")
    page.locator(".pad").nth(3).wait_for()
    assert Axe().run(page).response["violations"] == []
    page.get_by_role("button", name="Show me an example").click()
    _expect_answer(page, "B")
    assert Axe().run(page).response["violations"] == []
    width = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, .tabs a, .ink")]
            .filter(e => e.offsetParent && (e.offsetWidth < 24 || e.offsetHeight < 24))
            .map(e => e.outerHTML)"""
    )
    assert small == []
