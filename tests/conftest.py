"""What all tests share."""

import os

# Workers run side by side; torch would start as many threads in each as there are cores. Before it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import Phase, settings

# The same examples in every run, so that a failure is everybody's; shrinking one that takes 50 digits to judge would run
# for minutes, and is left to whoever looks into it.
settings.register_profile("t2fast", derandomize=True, deadline=None, phases=[Phase.explicit, Phase.generate])
settings.load_profile("t2fast")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0))
