"""The loop of reinforcement learning does what its first lines say."""

from statistics import fmean

import pytest

pytest.importorskip("trl", reason="needs the extra 'trl'")

from tests.support.examples import load


def test_the_reward_rises():
    rewards = load("rl_loop").train()
    assert len(rewards) == 20
    assert fmean(rewards[:3]) < 0.6
    assert fmean(rewards[-3:]) > 0.85
