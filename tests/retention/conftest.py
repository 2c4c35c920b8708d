"""Fixtures of the serving tests: the deployed model computes the retention list."""

from tests.serving.conftest import bundle, make_settings

__all__ = ["bundle", "make_settings"]
