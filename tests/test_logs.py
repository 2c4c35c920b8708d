import json
import logging
from collections.abc import Iterator

import pytest

from include.logs import get_logger, show_details_in_messages


@pytest.fixture
def details() -> Iterator[None]:
    show_details_in_messages()
    yield
    show_details_in_messages(enabled=False)


def test_details_are_not_in_the_message_by_default(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "include"):
        get_logger("include.things").info("things done", extra={"rows": 3})
    assert caplog.records[0].getMessage() == "things done"


@pytest.mark.usefixtures("details")
def test_details_are_in_the_message_for_hosts_that_show_messages_only(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "include"):
        get_logger("include.things").info("%d things done, 100 %%", 2, extra={"report": "silver.html", "rows": 3})
        get_logger("include.things").info("nothing more")
    event, _, rest = caplog.records[0].getMessage().partition(" {")
    assert event == "2 things done, 100 %"
    assert json.loads("{" + rest) == {"report": "silver.html", "rows": 3}
    assert caplog.records[1].getMessage() == "nothing more"
