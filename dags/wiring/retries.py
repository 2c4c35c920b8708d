"""The retry policy of all tasks: an error states itself whether a retry can help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import RetryDecision, RetryPolicy

from include.errors import ChurnflowError

if TYPE_CHECKING:
    from airflow.sdk import Context


class RetryIfUseful(RetryPolicy):
    """Fail at once after an error that a retry cannot mend; otherwise the task's own number of retries applies."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return what happens after a failed try.

        Args:
            exception: The error of the task.
            try_number: The number of the try, from 1.
            max_tries: The number of retries.
            context: The task's context.
        """
        if isinstance(exception, ChurnflowError) and not exception.can_retry:
            return RetryDecision.fail(f"{type(exception).__name__}: a retry cannot help")
        return RetryDecision.default()
