"""The local processes of tuning and training, and their exit status."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook, SubprocessResult
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.command_line import EXIT_NO_RETRY


class RecordingHook(SubprocessHook):
    """A hook that keeps the result of its command, since the operator drops it after a failure."""

    result: SubprocessResult | None = None

    def run_command(self, *args: Any, **kwargs: Any) -> SubprocessResult:
        """Run a command and return its exit status and its last line of output."""
        result = super().run_command(*args, **kwargs)
        self.result = result
        return result


class TrainingProcess(BashOperator):
    """A process that is not retried if its exit status states that a retry cannot help."""

    @cached_property
    def subprocess_hook(self) -> RecordingHook:
        """The hook that runs the command."""
        return RecordingHook()

    def execute(self, context: Context) -> Any:
        """Run the command.

        Args:
            context: The task's context.

        Raises:
            AirflowFailException: The command failed, and a retry cannot help. The text is that of the command's error.
            AirflowException: The command failed for another reason.
        """
        try:
            return super().execute(context)
        except AirflowException as error:
            ended = self.subprocess_hook.result
            if ended is None or ended.exit_code != EXIT_NO_RETRY:
                raise
            raise AirflowFailException(ended.output) from error
