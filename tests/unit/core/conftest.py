"""How long hypothesis tries: `HYPOTHESIS_PROFILE=deep` for an hour of doubt, the default for every commit."""

import os

import pytest
from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("default", max_examples=100, deadline=None, suppress_health_check=SLOW)
settings.register_profile("deep", max_examples=5_000, deadline=None, suppress_health_check=SLOW)
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items):
    if PROFILE == "deep":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
