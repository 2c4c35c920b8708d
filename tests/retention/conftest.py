"""The model and the settings of the serving tests: the retention list is made by the model that serves."""

from tests.serving.conftest import bundle, make_settings

__all__ = ["bundle", "make_settings"]
