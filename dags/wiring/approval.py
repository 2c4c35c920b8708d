"""The approval of a promotion by a person, as a task that waits without a process."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.hitl import HITLUser

from include.settings import get_settings

REJECT = "Reject"


class PromotionApproval(HITLOperator):
    """A task that waits until a person has decided whether a challenger becomes the champion.

    It returns ``approved`` and ``by``, the name of the person; without a response in time, the model is not approved
    and ``by`` is None. If there is nothing to decide, it requests no approval and returns None. ``ApprovalOperator``
    would skip the downstream tasks after a rejection, which then could not record it.

    Only the users in ``CHURN_TRAINING__APPROVERS`` may respond, if it is set.

    Args:
        hours: The time for the response, in hours.
        version: The challenger's version, or a template that is rendered when the task runs.
        **arguments: The other arguments of the task.
    """

    template_fields = ("version",)

    def __init__(self, *, hours: float, version: str, **arguments: Any) -> None:
        super().__init__(
            subject="Promotion",
            options=[REJECT],
            defaults=REJECT,
            response_timeout=dt.timedelta(hours=hours),
            assigned_users=[HITLUser(id=user, name=user) for user in get_settings().training.approvers],
            **arguments,
        )
        self.version = version

    def execute(self, context: Context) -> Any:
        """Publish the model card, and request the approval.

        Args:
            context: The task's context.
        """
        from include.training.release.approval import approval_form
        from include.training.release.publish import publish_model, published_card

        settings = get_settings()
        publish_model(settings, self.version)
        root = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        form = approval_form(settings, self.version, f"{root}/churn/view/{quote(published_card(self.version))}")
        if form is None:
            self.log.info("Version %s is not promoted, so there is nothing to approve.", self.version)
            return None
        self.subject, self.body, self.options = form.title, form.text, [self._approve, REJECT]
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return the decision.

        Args:
            context: The task's context.
            event: The response, or the default after the time-out.
        """
        from airflow.sdk.exceptions import AirflowFailException

        self.options = [self._approve, REJECT]
        # Airflow keeps the form of a task that is cleared, although the run may have trained another version since.
        if "error" not in event and event["chosen_options"] not in ([self._approve], [REJECT]):
            raise AirflowFailException(
                f"The form was not about version {self.version}. Remedy: Trigger churn_train again instead of clearing "
                "its tasks."
            )
        response = super().execute_complete(context, event)
        user = response["responded_by_user"]
        # Airflow's check does not apply if every visitor is an administrator, nor to a form from before a change.
        approvers = get_settings().training.approvers
        if user and approvers and user["id"] not in approvers:
            raise AirflowFailException(
                f"{user['name']} is not in CHURN_TRAINING__APPROVERS. Remedy: Clear the task; an approver must respond."
            )
        return {"approved": response["chosen_options"] == [self._approve], "by": user["name"] if user else None}

    @property
    def _approve(self) -> str:
        return f"Approve version {self.version}"


def approval_hours() -> float | None:
    """Return the time for an approval in hours; None if the project requires none or is invalid.

    The tasks report an invalid project.
    """
    from include.projects import load_project
    from include.projects.loader import ProjectError

    try:
        promotion = load_project(get_settings().project).training.promotion
    except ProjectError:
        return None
    return promotion.approval_hours if promotion.approval == "required" else None
