"""Projects: one folder of YAML for each business, and the code that loads and checks it."""

from include.projects.features import FeatureSpec
from include.projects.loader import ProjectError, load_project, project_names
from include.projects.project import Project
from include.projects.sources import Checks, Expectation, Source

__all__ = ["Checks", "Expectation", "FeatureSpec", "Project", "ProjectError", "Source", "load_project", "project_names"]
