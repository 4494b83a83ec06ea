"""In a browser: keyboard only, small screens, dark mode, axe, and what the policy stops."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.serving.demo import hand

pytestmark = pytest.mark.whole

NARROW = {"width": 320, "height": 640}


def _tab_to(page, locator) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if locator.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {locator}")


def test_everything_works_with_the_keyboard_alone(page, gateway):
    for number in range(1, 5):
        _tab_to(page, hand.pad(page, number).locator(".ink"))
        page.keyboard.press("Space")
        for key in ["ArrowRight"] * 5 + ["ArrowDown"] * (3 + number):
            page.keyboard.press(key)
        page.keyboard.press("Space")
        expect(hand.pad(page, number).locator(".ink")).to_have_attribute(
            "aria-label", f"Square {number}, 1 stroke"
        )
    hand.expect_drawings(page)
    support = gateway.link.asked[-1].support_images[..., 0]
    assert all((image < 128).sum() > 20 for image in support)
    _tab_to(page, page.get_by_role("button", name="Draw 64 others"))
    _tab_to(page, page.get_by_role("button", name="Watch it learn"))
    gateway.hold()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    gateway.release()
    _tab_to(page, page.get_by_role("slider", name="Samples"))
    page.keyboard.press("Home")
    hand.expect_drawings(page, 8)
    _tab_to(page, page.get_by_role("button", name="Save picture"))
    with page.expect_download():
        page.keyboard.press("Enter")


def test_backspace_takes_the_last_stroke_back_and_leaving_lifts_the_pen(page):
    ink = hand.pad(page, 1).locator(".ink")
    ink.focus()
    for key in ("Space", "ArrowUp", "ArrowUp", "Tab"):
        page.keyboard.press(key)
    expect(ink).to_have_attribute("aria-label", "Square 1, 1 stroke")
    ink.focus()
    page.keyboard.press("Backspace")
    expect(ink).to_have_attribute("aria-label", "Square 1, empty")


def test_a_screen_of_320_pixels_holds_it_without_scrolling_sideways_and_leads_to_what_is_new(
    visit, gateway
):
    page = visit(gateway.url, viewport=NARROW)
    hand.draw_four(page)
    hand.expect_drawings(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 320
    expect(page.locator("#grid canvas").first).to_be_in_viewport()
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, input, .ink")]
            .filter(e => e.offsetParent && e.id !== "files")
            .filter(e => e.offsetWidth < 24 || e.offsetHeight < 24).map(e => e.outerHTML)"""
    )
    assert small == []
    page.get_by_role("button", name="Clear all").click()
    page.get_by_role("button", name="Draw 64 more").click()
    expect(page.get_by_role("alert")).to_be_in_viewport()


def test_results_are_announced_and_errors_are_alerts(page):
    page.get_by_label("Example: Hook").click()
    expect(page.get_by_role("status")).to_contain_text("64 drawings after 10 inner steps")
    page.get_by_role("button", name="Clear all").click()
    page.get_by_role("button", name="Draw 64 more").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing to learn from")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"color_scheme": "dark"},
        {"viewport": NARROW},
        {"color_scheme": "dark", "viewport": NARROW},
    ],
    ids=["desktop", "dark", "narrow", "dark and narrow"],
)
def test_axe_finds_nothing(visit, gateway, settings):
    page = visit(gateway.url, **settings, reduced_motion="reduce")
    page.locator(".pad").nth(3).wait_for()
    assert _violations(page) == []
    page.get_by_label("Example: Hook").click()
    hand.expect_drawings(page)
    assert _violations(page) == []
    page.get_by_role("button", name="Clear all").click()
    page.get_by_role("button", name="Draw 64 more").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert _violations(page) == []
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert ("rgb(24" in background) == (settings.get("color_scheme") == "dark")


def test_the_policy_stops_what_the_page_does_not_do_itself(page):
    """That it does nothing of the kind, the fixture `visit` checks in every test."""
    stopped = page.evaluate(
        """async () => {
            const stopped = [];
            const listen = (resolve) => addEventListener("securitypolicyviolation", (event) => {
                stopped.push(event.effectiveDirective);
                if (stopped.length === 4) resolve(stopped);
            });
            const all = new Promise(listen);
            new Image().src = "http://elsewhere.invalid/pixel.png";
            fetch("http://elsewhere.invalid/").catch(() => {});
            document.body.setAttribute("style", "color: red");
            try { document.body.innerHTML = "<b onclick='0'></b>"; } catch {}
            return await all;
        }"""
    )
    assert sorted(stopped) == [
        "connect-src",
        "img-src",
        "require-trusted-types-for",
        "style-src-attr",
    ]
    assert len(page.faults) >= 3
    page.faults.clear()


def _violations(page) -> list:
    found = Axe().run(page).response["violations"]
    return [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found]
