"""Imported first by the service: spares every server process the five seconds that scikit-learn takes to import.

XGBoost imports it whenever it is installed, for its estimator classes. The service uses the booster alone, and its
image holds no scikit-learn; this makes a server started from a full environment behave as the image does.
"""

import sys
from types import ModuleType
from typing import cast

# Python answers an import of a name that is None here with ImportError, which XGBoost expects.
sys.modules.setdefault("sklearn", cast(ModuleType, None))
