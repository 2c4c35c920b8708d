"""The typer application of every ``python -m`` command: common options and common error output."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from include.errors import ChurnflowError

EXIT_NO_RETRY = os.EX_DATAERR
"""The exit status of a training after an error that a retry cannot fix."""


class CommandLine(typer.Typer):
    """A typer application that prints a ``ChurnflowError`` as one line on standard error.

    Args:
        help: The text above the list of commands.
        error_code: The exit status after a ``ChurnflowError``.
        no_retry_code: The exit status after a ``ChurnflowError`` that a retry cannot fix; ``error_code`` by default.

    Example:
        >>> app = CommandLine(help="The features of a project.")
    """

    def __init__(self, *, help: str | None = None, error_code: int = 1, no_retry_code: int | None = None) -> None:  # noqa: A002 - typer's own name
        super().__init__(help=help, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
        self._error_code = error_code
        self._no_retry_code = no_retry_code or error_code

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command of ``sys.argv``, or of ``args``."""
        try:
            return super().__call__(*args, **kwargs)
        except ChurnflowError as error:
            typer.echo(str(error), err=True)
            sys.exit(self._error_code if error.can_retry else self._no_retry_code)
