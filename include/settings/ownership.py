"""The check that stored state belongs to the configured project."""

from __future__ import annotations

from include.errors import ChurnflowError


class ProjectMismatchError(ChurnflowError):
    """Stored state belongs to another project."""


def require_project(found: object, project: str, *, what: str, where: object) -> None:
    """Check that stored state has the name of the configured project.

    Args:
        found: The name that is stored with the state; None if no name is stored.
        project: The configured project.
        what: The state, as the subject of a sentence: ``The model``.
        where: Its file, folder or address.

    Raises:
        ProjectMismatchError: The state has another name, or no name.
    """
    if found != project:
        owner = f"project {found!r}" if found else "an unknown project"
        raise ProjectMismatchError(
            f"{what} belongs to {owner}, but CHURN_PROJECT is {project!r}.",
            where=str(where),
            remedy=f"Set CHURN_PROJECT to its project, or remove the stored state and create it again for {project!r}.",
        )
