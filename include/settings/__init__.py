"""Where things run: ``get_settings`` reads it from ``CHURN_*`` variables, in groups."""

from include.settings.serving import LimitSettings, PredictionLogSettings, ServingSettings, StoreSettings
from include.settings.settings import ROOT, MlflowSettings, Settings, SettingsError, get_settings
from include.settings.training import PodSettings, TrainingSettings

__all__ = [
    "ROOT",
    "LimitSettings",
    "MlflowSettings",
    "PodSettings",
    "PredictionLogSettings",
    "ServingSettings",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "TrainingSettings",
    "get_settings",
]
