import numpy as np
import pytest
from scipy.special import betaln, expit

import t2fast
from t2fast.laws import BetaAbilityLaw, ItemResponseLaw
from t2fast.laws.ability import AbilityLaw

ABILITY = (0.3, 0.6, 0.5, -0.02, 0.01, -0.08)
CENTER = (3e8, 4e10)


def ability(n, d):
    x, y = np.log(n / CENTER[0]), np.log(d / CENTER[1])
    return np.stack([x**0, x, y, x * x, x * y, y * y]).T @ ABILITY


def test_item_response_is_the_mean_over_problems():
    b = np.array([-1.5, 0.2, 3.0])
    n, d, k = np.array([1e8, 1e9, 7e9]), np.array([2e9, 5e10, 3e11]), np.array([1.0, 8.0, 100.0])
    p = expit(ability(n, d)[:, None] - b)
    truth = (1 - (1 - p) ** k[:, None]).mean(axis=1)
    np.testing.assert_allclose(ItemResponseLaw(ABILITY, CENTER, tuple(b)).value(n, d, k), truth, rtol=1e-12)


def test_many_problems_and_the_least_success_rates_keep_their_digits():
    mpmath = pytest.importorskip("mpmath")
    b = np.linspace(-6, 40, 19)
    for k in (1.0, 13.0, 1e5):
        with mpmath.workdps(50):
            p = [1 / (1 + mpmath.exp(mpmath.mpf(float(one)) + 3)) for one in b]
            # Without the easy ones, whose sum would hide the others.
            for few in (slice(None), slice(12, None)):
                kept = p[few]
                truth = float(sum(1 - (1 - one) ** int(k) for one in kept) / len(kept))
                law = ItemResponseLaw((-3.0, 0, 0, 0, 0, 0), CENTER, tuple(b[few]))
                assert law.value(1e9, 1e11, k) == pytest.approx(truth, rel=1e-13)


def test_beta_ability_is_the_law_of_pass_at_k_with_a_bent_loss():
    n, d, k = np.array([1e8, 1e9, 7e9]), np.array([2e9, 5e10, 3e11]), np.array([1.0, 8.0, 100.0])
    h = ability(n, d)
    mean, nu = expit(h), np.exp(0.4 - 0.3 * h)
    truth = -np.expm1(betaln(mean * nu, (1 - mean) * nu + k) - betaln(mean * nu, (1 - mean) * nu))
    np.testing.assert_allclose(BetaAbilityLaw(ABILITY, CENTER, (0.4, 0.3)).value(n, d, k), truth, rtol=1e-9)


def test_far_outside_the_data_values_stay_probabilities():
    for law in (
        ItemResponseLaw(ABILITY, CENTER, (0.0, 1.0)),
        BetaAbilityLaw(ABILITY, CENTER, (0.4, 0.3)),
    ):
        values = law.value(np.array([1.0, 1e30]), np.array([1e30, 1.0]), 5)
        assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize(
    ("point", "message"),
    [((-1, 1e9, 1), "n_params = -1"), ((1e9, np.nan, 1), "n_tokens = nan"), ((1, 1, 0.5), "k = 0.5")],
)
def test_points_are_checked(point, message):
    with pytest.raises(t2fast.T2Error, match=message):
        ItemResponseLaw(ABILITY, CENTER, (0.0,)).value(*point)


def test_coefficients_are_checked():
    with pytest.raises(t2fast.LawError, match="ability has 2"):
        ItemResponseLaw((1.0, 2.0), CENTER, (0.0,))
    with pytest.raises(t2fast.LawError, match="center"):
        ItemResponseLaw(ABILITY, (1.0, -1.0), (0.0,))
    with pytest.raises(t2fast.LawError, match="difficulties"):
        ItemResponseLaw(ABILITY, CENTER, ())
    with pytest.raises(t2fast.T2Error, match="concentration"):
        BetaAbilityLaw(ABILITY, CENTER, (1.5,))
    with pytest.raises(t2fast.LawError, match="base of laws"):
        AbilityLaw(ABILITY, CENTER)
