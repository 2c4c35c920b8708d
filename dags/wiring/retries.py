"""The retry policy of all tasks: the class of an error states whether a retry can help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import RetryDecision, RetryPolicy

from include.errors import ChurnflowError

if TYPE_CHECKING:
    from airflow.sdk import Context


class RetryIfUseful(RetryPolicy):
    """Do not retry a task after an error that a retry cannot fix; otherwise the task's number of retries applies."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return whether a failed task is retried.

        Args:
            exception: The error of the task.
            try_number: The number of the try, from 1.
            max_tries: The number of retries.
            context: The task's context.
        """
        if isinstance(exception, ChurnflowError) and not exception.can_retry:
            return RetryDecision.fail(f"{type(exception).__name__}: a retry cannot help")
        return RetryDecision.default()
