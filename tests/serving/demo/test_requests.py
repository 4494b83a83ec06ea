"""In a browser: what is asked for, shown and cancelled."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from serving.errors import ServingError
from serving.pages.refusal import Refusal
from tests.serving.demo import fakes, hand
from tests.serving.processes import wait_for

pytestmark = pytest.mark.whole


def test_the_fourth_drawing_is_enough_and_the_grid_shows_support_and_samples(page, gateway):
    for number in range(1, 4):
        hand.draw(page, number)
    expect(page.locator("#invitation")).to_have_text("1 more to draw, and it begins.")
    assert gateway.link.asked == []
    hand.draw(page, 4)
    hand.expect_drawings(page, 64, 10)
    expect(page.locator("#support canvas")).to_have_count(4)
    expect(page.locator("#grid")).to_have_attribute(
        "aria-label", "64 drawings after 10 inner steps, from 4 of yours"
    )
    assert hand.marks(page) == (10, 0, 0)


def test_the_button_draws_others_once_its_answer_is_there(page, gateway):
    page.get_by_label("Example: Rune").click()
    page.get_by_role("button", name="Draw 64 others").click()
    wait_for(lambda: len(gateway.link.asked) == 2)
    assert gateway.link.asked[1].seed != gateway.link.asked[0].seed
    gateway.hold()
    hand.draw(page, 1)
    expect(page.get_by_role("button", name="Draw 64 more")).to_be_visible()
    gateway.release()


def test_fewer_than_four_can_be_asked_for(page, gateway):
    hand.draw(page, 2)
    page.get_by_role("button", name="Draw 64 more").click()
    hand.expect_drawings(page)
    assert len(gateway.link.asked[-1].support_images) == 1


def test_results_follow_the_squares_also_where_some_are_empty(page, gateway):
    hand.draw(page, 2)
    page.get_by_role("button", name="Draw 64 more").click()
    hand.expect_drawings(page)
    hand.draw(page, 3)
    wait_for(lambda: len(gateway.link.asked) == 2)
    assert len(gateway.link.asked[1].support_images) == 2
    for number in (2, 3):
        hand.pad(page, number).get_by_role("button", name="Clear").click()
    expect(page.locator("#invitation")).to_have_text(
        "They appear here, as soon as your squares are filled."
    )


def test_an_empty_page_asks_for_nothing_says_so_and_leads_to_a_square(page, gateway):
    page.get_by_role("button", name="Draw 64 more").click()
    expect(page.get_by_role("alert")).to_contain_text("draw something in at least one square")
    expect(hand.pad(page, 1).locator(".ink")).to_be_focused()
    assert gateway.link.asked == []
    hand.draw(page, 1)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_clearing_all_takes_the_results_away_too(page):
    page.get_by_label("Example: Rune").click()
    hand.expect_drawings(page)
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator("#invitation")).to_be_visible()
    expect(page.locator("#status")).to_have_text("")
    assert not hand.pixels(page, "#grid canvas").any(), "transparent"
    expect(page.get_by_role("button", name="Save picture")).to_be_disabled()


def test_another_seed_another_number_of_samples_and_of_steps(page, gateway):
    page.get_by_label("Example: Rune").click()
    hand.expect_drawings(page)
    page.get_by_label("Seed").fill("23")
    expect(page.locator("#status")).to_have_text(re.compile("drawings"))
    wait_for(lambda: gateway.link.asked[-1].seed == 23)
    page.wait_for_function(f"() => ({_MARK}) === 23")
    page.get_by_role("button", name="Another").click()
    wait_for(lambda: gateway.link.asked[-1].seed not in (0, 23))
    page.get_by_label("Samples").press("ArrowLeft")
    hand.expect_drawings(page, 56)
    page.get_by_role("slider", name="Inner steps").press("ArrowRight")
    hand.expect_drawings(page, 56, 20)
    page.wait_for_url("**/#steps=20&samples=56&seed=*")


_MARK = "document.querySelector('#grid canvas').getContext('2d').getImageData(1, 0, 1, 1).data[0]"


def test_adaptation_is_played_in_order_with_the_same_seed_and_drawings(page, gateway):
    page.get_by_label("Example: Hook").click()
    hand.expect_drawings(page)
    expect(page.locator("#stops button")).to_have_text(["0", "1", "2", "5", "10"])
    before = len(gateway.link.asked)
    page.evaluate(_RECORD_STATUS)
    gateway.hold()
    page.get_by_role("button", name="Watch it learn").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    gateway.release()
    expect(page.get_by_role("button", name="Watch it learn")).to_be_visible()
    hand.expect_drawings(page, 64, 10)
    seen = [
        int(found[1])
        for text in page.evaluate("() => window.seen")
        if (found := re.search(r"after (\d+)", text))
    ]
    assert seen == [0, 1, 2, 5, 10]
    asked = gateway.link.asked[before:]
    assert [request.num_inner_steps for request in asked] == [0, 1, 2, 5], "10 are there already"
    assert {request.seed for request in asked} == {0}
    assert all((request.support_images == asked[0].support_images).all() for request in asked)


_RECORD_STATUS = """() => {
    window.seen = [];
    const status = document.querySelector("#status");
    const observer = new MutationObserver(() => window.seen.push(status.textContent));
    observer.observe(status, { childList: true });
}"""


def test_adaptation_can_be_paused_stepped_through_and_resumed(page, gateway):
    page.get_by_label("Example: Hook").click()
    hand.expect_drawings(page)
    gateway.hold()
    page.get_by_role("button", name="Watch it learn").click()
    wait_for(lambda: len(gateway.link.asked) == 2)
    page.get_by_role("button", name="Pause").click()
    gateway.release()
    hand.expect_drawings(page, 64, 0)
    expect(page.locator("#stops [aria-current]")).to_have_text("0")
    page.get_by_role("button", name="After 2 inner steps").click()
    hand.expect_drawings(page, 64, 2)
    assert hand.marks(page)[0] == 2
    page.get_by_role("button", name="Watch it learn").click()
    hand.expect_drawings(page, 64, 10)
    assert [request.num_inner_steps for request in gateway.link.asked] == [10, 0, 2, 5]


def test_whoever_wants_less_motion_steps_through_by_hand(visit, gateway):
    page = visit(gateway.url, reduced_motion="reduce")
    page.get_by_label("Example: Hook").click()
    hand.expect_drawings(page)
    for steps in (0, 1):
        page.get_by_role("button", name="Next step").click()
        hand.expect_drawings(page, 64, steps)
    assert [request.num_inner_steps for request in gateway.link.asked] == [10, 0, 1]


def test_a_model_without_an_inner_loop_has_neither_steps_nor_adaptation(visit, start_gateway):
    page = visit(
        f"{start_gateway(limits={'num_inner_steps': {'maximum': 0}}).url}#steps=50&samples=8&seed=3"
    )
    page.get_by_label("Example: Spiral").click()
    hand.expect_drawings(page, 8)
    assert hand.marks(page) == (fakes.NO_STEPS, 3, 0)
    expect(page.locator("#steps-control")).to_be_hidden()
    expect(page.locator("#adaptation")).to_be_hidden()


def test_the_newest_request_wins_and_the_older_one_is_cancelled_at_the_model(page, gateway):
    gateway.hold()
    page.get_by_label("Example: Hook").click()
    wait_for(lambda: len(gateway.link.asked) == 1)
    page.get_by_label("Example: Tree").click()
    wait_for(lambda: len(gateway.link.asked) == 2)
    wait_for(lambda: gateway.link.num_cancelled == 1)
    gateway.release()
    hand.expect_drawings(page)
    np.testing.assert_array_equal(
        hand.pixels(page, "#support canvas"), gateway.link.asked[1].support_images[0, ..., 0]
    )
    assert gateway.link.num_cancelled == 1


def test_a_stroke_or_stop_ends_what_runs(page, gateway):
    gateway.hold()
    page.get_by_label("Example: Hook").click()
    wait_for(lambda: len(gateway.link.asked) == 1)
    page.get_by_role("button", name="Stop").click()
    wait_for(lambda: gateway.link.num_cancelled == 1)
    expect(page.locator("#status")).to_have_text("Stopped.")
    page.get_by_role("button", name="Draw 64 more").click()
    wait_for(lambda: len(gateway.link.asked) == 2)
    box = hand.pad(page, 1).locator(".ink").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    wait_for(lambda: gateway.link.num_cancelled == 2)
    page.mouse.up()
    wait_for(lambda: len(gateway.link.asked) == 3)


def test_two_tabs_do_not_disturb_each_other(page, gateway):
    other = page.context.new_page()
    other.goto(gateway.url)
    gateway.hold()
    page.get_by_label("Example: Hook").click()
    other.get_by_label("Example: Tree").click()
    wait_for(lambda: len(gateway.link.asked) == 2)
    gateway.release()
    for tab in (page, other):
        hand.expect_drawings(tab)
    assert (hand.pixels(page, "#support canvas") != hand.pixels(other, "#support canvas")).any()
    assert gateway.link.num_cancelled == 0


def test_a_reload_in_mid_run_cancels_and_asks_again_for_the_same(page, gateway):
    gateway.hold()
    hand.draw_four(page, "corner")
    wait_for(lambda: len(gateway.link.asked) == 1)
    page.wait_for_url("**/#*d=*")
    page.reload()
    wait_for(lambda: gateway.link.num_cancelled == 1)
    wait_for(lambda: len(gateway.link.asked) == 2)
    gateway.release()
    hand.expect_drawings(page)
    first, second = gateway.link.asked
    np.testing.assert_array_equal(first.support_images, second.support_images)


def test_what_the_model_refuses_is_said_on_the_page(page, gateway):
    gateway.link.error = ServingError("INVALID_ARGUMENT", "the adaptation diverged")
    page.get_by_label("Example: Fish").click()
    expect(page.get_by_role("alert")).to_have_text("The adaptation diverged.")
    gateway.link.error = None
    page.get_by_role("button", name="Draw 64 more").click()
    hand.expect_drawings(page)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_page_notices_that_the_model_or_its_own_server_is_gone_and_goes_on_when_they_are_back(
    page, gateway
):
    page.get_by_label("Example: Fish").click()
    hand.expect_drawings(page)
    alert = page.get_by_role("alert")
    gateway.link.error = ServingError("UNAVAILABLE", "no server answers")
    page.get_by_label("Seed").fill("1")
    expect(alert).to_have_text("No server answers. Trying again by itself.")
    gateway.link.error = None
    expect(alert).to_be_hidden()
    page.wait_for_function(f"() => ({_MARK}) === 1")
    gateway.close()
    page.get_by_label("Seed").fill("2")
    expect(alert).to_have_text("The server of this page does not answer. Trying again by itself.")
    gateway.start()
    expect(alert).to_be_hidden()
    page.wait_for_function(f"() => ({_MARK}) === 2")


def test_a_stroke_begun_while_the_page_asks_again_is_not_overtaken(page, gateway):
    page.get_by_label("Example: Fish").click()
    hand.expect_drawings(page)
    gateway.link.error = Refusal(429, "That was a lot of requests.", retry_after=1)
    held = []
    page.route("**/api/model", lambda route: held.append(route))
    page.get_by_label("Seed").fill("2")
    expect(page.get_by_role("alert")).to_contain_text("Trying again")
    gateway.link.error = None
    while not held:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Clear all").click()
    held[0].continue_()
    asked = len(gateway.link.asked)
    page.wait_for_timeout(300)
    assert len(gateway.link.asked) == asked
    expect(page.get_by_role("alert")).to_be_hidden()


def test_where_waiting_helps_the_page_says_so_and_asks_again(page, gateway):
    page.get_by_label("Example: Fish").click()
    hand.expect_drawings(page)
    gateway.link.error = Refusal(429, "That was a lot of requests.", retry_after=1)
    page.get_by_label("Seed").fill("2")
    expect(page.get_by_role("alert")).to_have_text(
        "That was a lot of requests. Trying again by itself."
    )
    gateway.link.error = None
    expect(page.get_by_role("alert")).to_be_hidden()
    page.wait_for_function(f"() => ({_MARK}) === 2")
