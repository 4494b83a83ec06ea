"""In a browser: fingers, pens, palms, mouse and keyboard, one at a time and beside each other."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.serving.demo import hand

pytestmark = pytest.mark.whole


def test_touch_draws_and_does_not_scroll(visit, gateway):
    page = visit(
        gateway.url, viewport={"width": 400, "height": 700}, has_touch=True, is_mobile=True
    )
    touch = page.context.new_cdp_session(page)
    for number in range(1, 5):
        hand.pad(page, number).scroll_into_view_if_needed()
        before = page.evaluate("scrollY")
        box = hand.pad(page, number).locator(".ink").bounding_box()
        points = [
            (box["x"] + 0.3 * box["width"], box["y"] + t * box["height"])
            for t in (0.2, 0.4, 0.6, 0.8)
        ]
        for kind, (x, y) in zip(
            ("touchStart", "touchMove", "touchMove", "touchMove"), points, strict=True
        ):
            touch.send(
                "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]}
            )
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(hand.pad(page, number).locator(".ink")).to_have_attribute(
            "aria-label", f"Square {number}, 1 stroke"
        )
        assert page.evaluate("scrollY") == before
    hand.expect_drawings(page)
    rows, columns = np.nonzero(gateway.link.asked[-1].support_images[0, ..., 0] < 128)
    assert np.ptp(rows) > 16
    assert np.ptp(columns) < 4


def test_a_pen_draws(page):
    box = hand.pad(page, 1).locator(".ink").bounding_box()
    pen = page.context.new_cdp_session(page)
    for kind, y in (
        ("mousePressed", 0.2),
        ("mouseMoved", 0.5),
        ("mouseMoved", 0.8),
        ("mouseReleased", 0.8),
    ):
        place = {"x": box["x"] + 0.5 * box["width"], "y": box["y"] + y * box["height"]}
        event = {
            "type": kind,
            "button": "left",
            "buttons": 1,
            "clickCount": 1,
            "pointerType": "pen",
        }
        pen.send("Input.dispatchMouseEvent", event | place)
    expect(hand.pad(page, 1).locator(".ink")).to_have_attribute("aria-label", "Square 1, 1 stroke")
    assert np.ptp(np.nonzero(hand.pixels(page, ".mirror") < 128)[0]) > 16


def test_a_palm_beside_the_finger_draws_nothing_and_ends_no_stroke(visit, gateway):
    page = visit(
        gateway.url, viewport={"width": 400, "height": 700}, has_touch=True, is_mobile=True
    )
    touch = page.context.new_cdp_session(page)
    hand.pad(page, 1).scroll_into_view_if_needed()
    box = hand.pad(page, 1).locator(".ink").bounding_box()

    def point(number: int, x: float, y: float) -> dict:
        place = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        return place | {"id": number}

    palm = point(1, 0.9, 0.9)
    for kind, points in (
        ("touchStart", [point(0, 0.3, 0.2)]),
        ("touchStart", [point(0, 0.3, 0.2), palm]),
        ("touchMove", [point(0, 0.3, 0.5), palm]),
        ("touchMove", [point(0, 0.3, 0.8)]),  # without the palm, which is lifted
        ("touchEnd", []),
    ):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(hand.pad(page, 1).locator(".ink")).to_have_attribute("aria-label", "Square 1, 1 stroke")
    rows, columns = np.nonzero(hand.pixels(page, ".mirror") < 128)
    assert np.ptp(rows) > 16
    assert np.ptp(columns) < 4


def test_the_mouse_adds_nothing_to_what_the_keyboard_draws_and_a_click_lifts_its_pen(page):
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    ink = hand.pad(page, 1).locator(".ink")
    ink.focus()
    page.keyboard.press("Space")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    box = ink.bounding_box()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.9 * box["height"])
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.9 * box["height"])
    # The keyboard's stroke, and the dot of the click.
    expect(ink).to_have_attribute("aria-label", "Square 1, 2 strokes")
    page.get_by_label("Undo in square 1").click()
    expect(ink).to_have_attribute("aria-label", "Square 1, 1 stroke")
    assert np.ptp(np.nonzero(hand.pixels(page, ".mirror") < 128)[0]) < 4
    ink.focus()
    page.keyboard.press("ArrowRight")
    assert not errors
