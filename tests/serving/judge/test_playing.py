"""In a browser: a scripted player plays whole games."""

import json

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from figr_common.answers import SIDES, STAND_IN, Answer
from figr_common.decks import REAL, ROUND
from tests.serving.judge import made

pytestmark = pytest.mark.whole

NARROW = {"width": 320, "height": 640}
KEYS = {"left": "ArrowLeft", "right": "ArrowRight"}


def _begin(page: Page) -> None:
    page.get_by_role("button", name="Begin").click()
    _expect_trial(page, 1)


def _expect_trial(page: Page, number: int) -> None:
    page.wait_for_function(  # Looks at every frame, sooner than `expect` does.
        """text => document.querySelector("#progress").textContent === text
            && document.querySelector("#left").getAttribute("aria-disabled") === "false" """,
        arg=f"Trial {number} of {ROUND}",
    )
    page.evaluate("() => new Promise(requestAnimationFrame)")


def _game(judge, page: Page):
    return judge.games.find(page.evaluate("() => location.hash.slice(1)"))


def _generated(judge, page: Page, number: int) -> str:
    """The right answer to a trial, from 0, which nothing in the browser knows."""
    return SIDES[judge.games.deck.answers[_game(judge, page).order[number]]]


def _play(judge, page: Page, choose, first: int = 0) -> None:
    """choose: (number of the trial, the right answer) → the answer."""
    for number in range(first, ROUND):
        _expect_trial(page, number + 1)
        page.keyboard.press(KEYS[choose(number, _generated(judge, page, number))])
    page.locator("#results-title").wait_for()


def _row(page: Page, source: str) -> str:
    rows = page.locator("table").first.locator("tbody tr")
    return rows.filter(has_text=source).locator("td").first.inner_text().replace("\xa0", " ")


def test_who_is_always_right_has_found_every_generated_group(visit, judge):
    page = visit(judge.url)
    _begin(page)
    _play(judge, page, lambda number, generated: generated)
    expect(page.locator("#results-title")).to_have_text(
        "You found the generated group 16 of 16 times"
    )
    # Clopper and Pearson for 4 of 4: from 0.025 ** (1 / 4) = 0.398 on.
    assert all(_row(page, source) == "4 of 4, 100 % [40, 100]" for source in made.SOURCES)


def test_who_always_says_left_is_right_half_of_the_time_for_every_source(visit, judge):
    page = visit(judge.url)
    _begin(page)
    _play(judge, page, lambda number, generated: "left")
    expect(page.locator("#results-title")).to_contain_text("8 of 16")
    assert all(_row(page, source).startswith("2 of 4, 50 %") for source in made.SOURCES)


def test_who_answers_at_random_gets_the_row_of_what_was_answered(visit, judge):
    page = visit(judge.url)
    rng = np.random.default_rng(5)
    _begin(page)
    _play(judge, page, lambda number, generated: SIDES[rng.integers(2)])
    given = np.random.default_rng(5).integers(2, size=ROUND)
    order = np.array(_game(judge, page).order)
    deck = judge.games.deck
    is_right = deck.answers[order] == given
    for source in made.SOURCES:
        right = int(is_right[deck.sources[order] == source].sum())
        assert _row(page, source).startswith(f"{right} of 4, ")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save my answers").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert [line["answer"] for line in lines] == [SIDES[i] for i in given]
    assert [line["trial"] for line in lines] == order.tolist()
    assert all(0 <= line["seconds"] < 60 for line in lines)


def test_a_reload_goes_on_with_the_trial_and_keeps_the_results(visit, judge):
    page = visit(judge.url)
    _begin(page)
    for number in range(3):
        _expect_trial(page, number + 1)
        page.keyboard.press("ArrowLeft")
    _expect_trial(page, 4)
    page.reload()
    _play(judge, page, lambda number, generated: generated, first=3)
    before = page.locator("#results").inner_text()
    page.reload()
    page.locator("#results-title").wait_for()
    assert page.locator("#results").inner_text() == before


def test_a_server_that_is_gone_is_told_and_with_a_file_the_game_goes_on_when_it_is_back(
    visit, deck, tmp_path
):
    judge = made.JudgeThread(deck, tmp_path / "answers.jsonl")
    page = visit(judge.url)
    _begin(page)
    page.keyboard.press("ArrowLeft")
    _expect_trial(page, 2)
    judge.close()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("alert")).to_contain_text("does not answer. Answer again.")
    judge.start()
    _play(judge, page, lambda number, generated: generated, first=1)
    expect(page.get_by_role("alert")).to_be_hidden()
    judge.close()
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert len(lines) == ROUND
    assert len({json.loads(line)["trial"] for line in lines}) == ROUND


def test_a_trial_answered_in_another_window_is_not_answered_twice(visit, judge):
    page = visit(judge.url)
    _begin(page)
    other = visit(page.url)
    _expect_trial(other, 1)
    page.keyboard.press("ArrowLeft")
    _expect_trial(page, 2)
    other.keyboard.press("ArrowRight")
    _expect_trial(other, 2)
    assert [answer.answer for answer in _game(judge, page).answers] == ["left"]


def test_a_key_held_down_answers_once(visit, judge):
    page = visit(judge.url)
    _begin(page)
    for _ in range(5):
        page.keyboard.down("ArrowLeft")  # The second and later ones are repeats.
    _expect_trial(page, 2)
    assert len(_game(judge, page).answers) == 1


def test_the_groups_can_be_clicked_and_reached_by_tab(visit, judge):
    page = visit(judge.url)
    _begin(page)
    page.locator("#right").click()
    _expect_trial(page, 2)
    page.locator("#left").focus()
    page.keyboard.press("Enter")
    _expect_trial(page, 3)
    page.keyboard.press("Tab")
    expect(page.locator("#right")).to_be_focused()
    page.keyboard.press("Space")
    _expect_trial(page, 4)
    assert [a.answer for a in _game(judge, page).answers] == ["right", "left", "right"]


def test_an_unknown_game_leads_to_the_beginning(visit, judge):
    page = visit(f"{judge.url}#0123456789abcdef")
    expect(page.get_by_role("alert")).to_contain_text("not known here")
    _begin(page)
    expect(page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize(
    "settings",
    [{}, {"color_scheme": "dark", "viewport": NARROW}],
    ids=["desktop", "dark and narrow"],
)
def test_axe_finds_nothing_and_320_pixels_hold_it(visit, deck, settings):
    stand_in = [
        Answer(deck.digest, True, STAND_IN, "s", i, "c", source, "left", "left", None)
        for i, source in enumerate(made.SOURCES)
    ]
    judge = made.JudgeThread(deck, stand_in=stand_in)
    page = visit(judge.url, **settings, reduced_motion="reduce")
    page.get_by_role("button", name="Begin").wait_for()
    _look_over(page)
    _begin(page)
    _look_over(page)
    _play(judge, page, lambda number, generated: generated)
    page.locator("summary").first.click()
    expect(page.locator("#trials canvas")).to_have_count(4 + 2 * 3)
    _look_over(page)
    assert page.locator("summary", has_text="nothing to find").count() == 4
    assert REAL in page.locator("table").inner_text()
    expect(page.get_by_text("Stand-in: a network, no people")).to_be_visible()
    judge.close()


def _look_over(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found] == []
    width = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] == width[1]
