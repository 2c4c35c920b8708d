"""Whether Spark can run here."""

import importlib.util
import shutil

import pytest

needs_spark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="Spark needs `make spark` and Java 17 (Debian: openjdk-17-jre-headless)",
)
