"""What all tests share."""

from hypothesis import Phase, settings

# The same examples in every run, so that a failure is everybody's; explaining one would trace mpmath for minutes.
settings.register_profile(
    "t2fast", derandomize=True, deadline=None, phases=[Phase.explicit, Phase.generate, Phase.shrink]
)
settings.load_profile("t2fast")
