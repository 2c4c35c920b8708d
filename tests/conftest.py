"""What every test needs."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def product_logs_are_on() -> Iterator[None]:
    """Let every log call of the product run: a call that is wrong only fails where its level is on."""
    product = logging.getLogger("include")
    level = product.level
    product.setLevel(logging.INFO)
    yield
    product.setLevel(level)
