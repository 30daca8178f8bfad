"""A Ray cluster on this machine."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cluster(cpus=3):
    import ray

    here = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    ray.init(
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": here}},
        object_store_memory=100_000_000,
    )
    try:
        yield
    finally:
        ray.shutdown()
