"""Rates by a clock of the test's own; what a contract makes of a description."""

import json

import pytest

from serving.demo_app import description
from serving.demo_app.limits import Rate, VisitorLimits
from serving.pages.refusal import Refusal
from tests.serving.demo import fakes


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_a_client_may_send_a_burst_then_as_many_as_time_brings_back():
    clock = Clock()
    rate = Rate(VisitorLimits(burst=3, per_second=0.5), clock)
    for _ in range(3):
        rate.take("a")
    with pytest.raises(Refusal) as refusal:
        rate.take("a")
    assert (refusal.value.status, refusal.value.retry_after) == (429, 2)
    clock.now += 1.9
    with pytest.raises(Refusal):
        rate.take("a")
    clock.now += 0.1
    rate.take("a")
    with pytest.raises(Refusal):
        rate.take("a")


def test_one_client_does_not_use_up_what_is_anothers():
    rate = Rate(VisitorLimits(burst=1), Clock())
    rate.take("a")
    rate.take("b")
    with pytest.raises(Refusal):
        rate.take("a")


def test_clients_of_long_ago_are_forgotten():
    clock = Clock()
    rate = Rate(VisitorLimits(), clock)
    for client in range(1000):
        rate.take(str(client))
        clock.now += 1.0
    assert len(rate._full_at) <= 2


def test_the_contract_lowers_limits_and_never_raises_them():
    bounds = {
        "num_samples": {"maximum": 20},
        "num_inner_steps": {"maximum": 1000},
        "num_shots": {"maximum": 5},
    }
    model = fakes.described(limits=bounds)
    assert (model.max_samples, model.max_steps, model.max_images, model.num_samples) == (
        20,
        200,
        5,
        20,
    )


@pytest.mark.parametrize(
    ("contract", "defaults"),
    [
        ({"limits": {"num_inner_steps": {"maximum": 0}}}, {"num_inner_steps": 10}),
        ({"limits": {"num_samples": {"maximum": 64}}}, {"num_inner_steps": 10}),
        ({}, {"num_inner_steps": 0}),
        ({}, {"num_samples": 16}),
    ],
)
def test_a_model_without_an_inner_loop_is_recognised_by_contract_or_signature(contract, defaults):
    model = description.describe(contract, 1, (32, 32, 1), defaults, VisitorLimits())
    assert (model.max_steps, model.num_inner_steps if model.max_steps else 0) == (0, 0)


def test_strokes_are_those_of_the_data_set_in_the_contract_or_as_told():
    def extent(contract, dataset=None):
        return description.describe(
            contract, 1, (32, 32, 1), {}, VisitorLimits(), dataset
        ).hand.extent

    assert extent({}) == extent({"training": {"dataset": "folder"}}) == 0.66
    assert extent({"training": {"dataset": "glyphs"}}) == extent({}, "glyphs") == 0.84


def test_a_contract_that_is_not_there_or_damaged_counts_as_none(tmp_path):
    folder = tmp_path / "1" / "assets.extra"
    folder.mkdir(parents=True)
    assert description.read_contract(tmp_path, 1) == {}
    (folder / "contract.json").write_text("{")
    assert description.read_contract(tmp_path, 1) == {}
    (folder / "contract.json").write_text(json.dumps({"format": 1}))
    assert description.read_contract(tmp_path, 1) == {"format": 1}
