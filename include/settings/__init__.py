"""The settings of a deployment, which ``get_settings`` reads from ``CHURN_*`` variables."""

from include.settings.groups import (
    ClusterSettings,
    DatabaseTimeouts,
    LimitSettings,
    MetricsSettings,
    PodSettings,
    PredictionLogSettings,
    ServingSettings,
    StoreSettings,
    TaskSettings,
    TrainingSettings,
)
from include.settings.ownership import ProjectMismatchError, require_project
from include.settings.settings import (
    NO_KEYS,
    ROOT,
    AlertSettings,
    EngineName,
    MlflowSettings,
    PrivacySettings,
    ProvenanceSettings,
    Settings,
    SettingsError,
    get_settings,
)

__all__ = [
    "NO_KEYS",
    "ROOT",
    "AlertSettings",
    "ClusterSettings",
    "DatabaseTimeouts",
    "EngineName",
    "LimitSettings",
    "MetricsSettings",
    "MlflowSettings",
    "PodSettings",
    "PredictionLogSettings",
    "PrivacySettings",
    "ProjectMismatchError",
    "ProvenanceSettings",
    "ServingSettings",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "TaskSettings",
    "TrainingSettings",
    "get_settings",
    "require_project",
]
