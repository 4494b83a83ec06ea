"""Each statistic by another route: a closed form, brute force, an invariance, or a trap that it
must not fall into.
"""

import math

import numpy as np
import pytest

from figr_tf.evaluation import scores


def _rng(seed=0):
    return np.random.default_rng(seed)


def test_distances_equal_brute_force():
    a, b = _rng().normal(size=(5, 7)), _rng(1).normal(size=(4, 7))
    brute = [[math.dist(x, y) for y in b] for x in a]
    np.testing.assert_allclose(scores.distances(a, b), brute, rtol=1e-9)


def test_energy_distance_equals_brute_force_over_pairs():
    g, r = _rng().normal(size=(6, 3)), _rng(1).normal(size=(4, 3))
    between = np.mean([math.dist(x, y) for x in g for y in r])
    within = [
        np.mean([math.dist(p[i], p[j]) for i in range(len(p)) for j in range(len(p)) if i != j])
        for p in (g, r)
    ]
    assert scores.energy_distance(g, r) == pytest.approx(2 * between - sum(within), rel=1e-9)


@pytest.mark.parametrize("mean", [0.0, 0.5, 2.0])
def test_energy_distance_of_two_gaussians_in_one_dimension(mean):
    """X − Y is normal with variance 2, so E|X − Y| is that of a folded normal; E|X − X′| = 2/√π."""
    folded = 2 / math.sqrt(math.pi) * math.exp(-(mean**2) / 4) + mean * math.erf(mean / 2)
    expected = 2 * folded - 2 * 2 / math.sqrt(math.pi)
    estimates = [
        scores.energy_distance(
            _rng(s).normal(size=(600, 1)), _rng(100 + s).normal(mean, 1, (600, 1))
        )
        for s in range(10)
    ]
    error = np.std(estimates) / math.sqrt(10)
    assert np.mean(estimates) == pytest.approx(expected, abs=4 * error + 1e-3)


def test_energy_distance_is_unbiased_for_equal_laws_even_of_few_points():
    estimates = [
        scores.energy_distance(_rng(s).normal(size=(8, 4)), _rng(999 + s).normal(size=(5, 4)))
        for s in range(600)
    ]
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / math.sqrt(600)
    assert min(estimates) < 0  # the price of being unbiased


def test_energy_distance_does_not_mind_order_shift_and_rotation_and_scales():
    g, r = _rng().normal(size=(9, 3)), _rng(1).normal(size=(7, 3)) + 1
    value = scores.energy_distance(g, r)
    rotation, _ = np.linalg.qr(_rng(2).normal(size=(3, 3)))
    assert scores.energy_distance(g[::-1], _rng(3).permutation(r)) == pytest.approx(value)
    assert scores.energy_distance(g + 5, r + 5) == pytest.approx(value)
    assert scores.energy_distance(g @ rotation, r @ rotation) == pytest.approx(value)
    assert scores.energy_distance(3 * g, 3 * r) == pytest.approx(3 * value)


def test_duplicates_are_at_distance_zero_also_where_single_precision_rounds():
    """Far from the origin |a|² + |b|² − 2ab of equal points is not 0 in float32, and copies have
    many equal points.
    """
    points = (_rng().normal(size=(4, 16)) + 30).astype(np.float32)
    copies = np.repeat(points, 16, axis=0)
    assert scores.distances(copies, copies).max() > 0
    within = scores._self(copies)
    assert (within[:16, :16] == 0).all()
    assert within[0, 16] == pytest.approx(math.dist(points[0], points[1]), rel=1e-2)


def test_energy_distance_needs_pairs():
    with pytest.raises(ValueError, match=r"at least 2 points a side\. Received: 1 and 3"):
        scores.energy_distance(np.zeros((1, 2)), np.zeros((3, 2)))


def test_skill_is_0_for_copies_1_for_no_distance_and_sums_before_it_divides():
    copies = np.array([1.0, 3.0])
    assert scores.skill(copies, copies) == 0
    assert scores.skill(np.zeros(2), copies) == 1
    assert scores.skill(np.array([1.0, 0.0]), copies) == pytest.approx(
        0.75
    )  # the mean of the ratios would be .5


def test_bootstrap_interval_holds_the_skill_narrows_with_classes_and_is_repeatable():
    def interval(classes):
        copies = _rng(1).uniform(1, 2, classes)
        model = copies * 0.4 + _rng(2).normal(0, 0.2, classes)
        return scores.bootstrap_interval(model, copies), scores.skill(model, copies)

    (low, high), value = interval(400)
    (wide_low, wide_high), _ = interval(25)
    assert low < value < high
    assert high - low < (wide_high - wide_low) / 2
    assert interval(400) == interval(400)


def test_intervals_of_few_classes_hold_the_truth_about_as_often_as_those_of_many():
    """Classes with copies and a model of random worth; the true skill is 0.55. Plain percentiles
    hold it in 80 % of the draws of four classes.
    """

    def coverage(classes, draws=300):
        rng, hits = _rng(classes), 0
        for _ in range(draws):
            copies = rng.gamma(6, 1 / 6, classes)
            model = copies * rng.normal(0.45, 0.25, classes) + rng.normal(0, 0.1, classes)
            low, high = scores.bootstrap_interval(model, copies, num_draws=200)
            hits += low <= 0.55 <= high
        return hits / draws

    for classes in (3, 4, 8, 49, 50):
        assert coverage(classes) > 0.9


def test_from_fifty_classes_on_an_interval_is_the_plain_percentiles():
    copies = _rng(1).uniform(1, 2, 50)
    model = copies * 0.4 + _rng(2).normal(0, 0.2, 50)
    chosen = _rng(0).integers(0, 50, (1000, 50))
    skills = [1 - model[c].sum() / copies[c].sum() for c in chosen]
    assert scores.bootstrap_interval(model, copies) == pytest.approx(
        tuple(np.quantile(skills, [0.025, 0.975]))
    )


def test_one_class_has_no_interval():
    assert all(map(math.isnan, scores.bootstrap_interval(np.ones(1), np.ones(1))))


def _world(classes=40, drawings=20, n=4, seed=0):
    """Classes as Gaussian clouds in 16 dimensions; supports, references and held-out drawings of
    each.
    """
    rng = _rng(seed)
    centres = rng.normal(0, 2, (classes, 1, 16))
    points = centres + rng.normal(0, 1, (classes, drawings, 16))
    return points[:, :n], points[:, n : (drawings + n) // 2], points[:, (drawings + n) // 2 :], rng


def _skill_of(samples, copies, reference):
    model = [scores.energy_distance(g, r) for g, r in zip(samples, reference, strict=True)]
    base = [scores.energy_distance(g, r) for g, r in zip(copies, reference, strict=True)]
    return scores.skill(np.array(model), np.array(base))


@pytest.fixture(scope="module")
def world():
    support, reference, held_out, rng = _world()
    copies = np.stack([s[rng.integers(0, 4, 64)] for s in support])
    return support, reference, held_out, copies


def test_trap_each_support_image_exactly_once_looks_like_real_drawings(world):
    """Without replacement the supports are a fair draw of the class: this is why M ≥ 16·n samples
    are asked for.
    """
    support, reference, held_out, copies = world
    assert _skill_of(support, copies, reference) == pytest.approx(
        _skill_of(held_out, copies, reference), abs=0.15
    )
    repeated = np.tile(support, (1, 16, 1))
    assert _skill_of(repeated, copies, reference) == pytest.approx(0, abs=0.1)


def test_trap_one_support_image_repeated_scores_far_below_copies(world):
    support, reference, _, copies = world
    assert _skill_of(np.repeat(support[:, :1], 64, axis=1), copies, reference) < -1


def test_trap_a_perfect_but_unconditional_model_scores_below_copies(world):
    _, reference, held_out, copies = world
    anything = held_out.reshape(-1, 16)
    samples = np.stack([_rng(c).permutation(anything)[:64] for c in range(len(reference))])
    assert _skill_of(samples, copies, reference) < -0.5


def test_real_drawings_have_skill_1(world):
    _, reference, held_out, copies = world
    assert _skill_of(held_out, copies, reference) == pytest.approx(1, abs=0.1)


def test_recognised_counts_nearest_prototypes_by_hand():
    prototypes = np.array([[0.0], [10.0], [20.0]])
    samples = np.array([[[1.0], [9.0]], [[11.0], [10.0]], [[0.0], [1.0]]])
    np.testing.assert_array_equal(
        scores.recognised(samples, prototypes, _rng(), ways=20), [0.5, 1, 0]
    )


def test_recognised_by_chance_is_one_in_the_ways():
    samples, prototypes = _rng().normal(size=(200, 20, 8)), _rng(1).normal(size=(200, 8))
    assert scores.recognised(samples, prototypes, _rng(2), ways=20).mean() == pytest.approx(
        0.05, abs=0.02
    )


def test_classification_accuracy_tests_held_out_drawings_on_centroids_of_samples():
    samples = np.array([[[0.0], [2.0]], [[9.0], [11.0]]])
    held_out = np.array([[[1.0], [8.0], [0.0]], [[10.0], [9.0], [12.0]]])
    np.testing.assert_allclose(
        scores.classification_accuracy(samples, held_out, _rng()), [2 / 3, 1]
    )


def test_equal_centroids_of_a_model_that_ignores_its_support_are_chance():
    samples = np.repeat(_rng().normal(size=(1, 30, 8)).astype(np.float32) + 20, 50, axis=0)
    held_out = _rng(1).normal(size=(50, 8, 8)).astype(np.float32) + 20
    assert scores.classification_accuracy(
        samples, held_out, _rng(), ways=50
    ).mean() == pytest.approx(1 / 50, rel=0.1)


def test_diversity_ratio_by_hand_and_of_a_collapsed_model():
    held_out = [np.array([[0.0, 0.0], [2.0, 2.0]])]
    assert scores.diversity_ratio([np.array([[0.0, 0.0], [1.0, 1.0]])], held_out) == pytest.approx(
        0.5
    )
    assert scores.diversity_ratio([np.zeros((5, 2))], held_out) == 0


def test_copy_auc_is_1_for_copies_half_for_real_0_for_strangers():
    rng = _rng()
    support, held_out = rng.normal(size=(4, 16)), rng.normal(size=(400, 16))
    assert scores.copy_auc(np.tile(support, (10, 1)), held_out, support) == 1
    assert scores.copy_auc(rng.normal(size=(400, 16)), held_out, support) == pytest.approx(
        0.5, abs=0.06
    )
    assert scores.copy_auc(rng.normal(50, 1, (40, 16)), held_out, support) == 0
    assert scores.copy_auc(held_out, held_out, support) == 0.5  # ties count half


def test_one_nearest_neighbour_accuracy_is_half_for_real_and_1_for_what_is_far_or_repeated():
    rng = _rng()
    real = [
        scores.one_nearest_neighbour_accuracy(rng.normal(size=(64, 5)), rng.normal(size=(8, 5)))
        for _ in range(300)
    ]
    assert np.mean(real) == pytest.approx(
        7 / 15, abs=0.02
    )  # of 15 other points 7 are of one's kind
    assert (
        scores.one_nearest_neighbour_accuracy(rng.normal(99, 1, (64, 5)), rng.normal(size=(8, 5)))
        == 1
    )
    one = np.repeat(rng.normal(size=(1, 5)), 64, axis=0)
    assert scores.one_nearest_neighbour_accuracy(one, rng.normal(size=(8, 5))) >= 0.5


def test_one_nearest_neighbour_accuracy_equals_brute_force():
    g, r = _rng().normal(size=(6, 3)), _rng(1).normal(0.5, 1, (6, 3))
    points, labels = np.concatenate([g, r]), [0] * 6 + [1] * 6
    right = 0
    for i in range(12):
        others = [j for j in range(12) if j != i]
        right += labels[min(others, key=lambda j: math.dist(points[i], points[j]))] == labels[i]
    assert scores.one_nearest_neighbour_accuracy(g, r) == pytest.approx(right / 12)
