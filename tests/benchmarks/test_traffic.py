"""The clients of the swap benchmark and test count each wrong response as an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.traffic import Traffic
from include.training.model.bundle import Bundle
from tests.http_servers import StubHandler, stub
from tests.serving.conftest import train_bundle
from tests.serving.deployment.runners import wait_until


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    class Handler(StubHandler):
        def respond(self) -> None:
            self.body()
            self.answer(body, status)

    with stub(Handler) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return train_bundle()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 200, id="empty"),
        pytest.param(b"{", 200, id="not JSON"),
        pytest.param(b"[]", 200, id="not an object"),
        pytest.param(b'{"model_version": "7"}', 200, id="no probability"),
        pytest.param(b'{"model_version": "7", "churn_probability": null}', 200, id="null"),
        pytest.param(b'{"model_version": "7", "churn_probability": 7}', 200, id="another probability"),
        pytest.param(b'{"model_version": "9", "churn_probability": 0.5}', 200, id="another model"),
        pytest.param(b'{"model_version": "7", "churn_probability": %d}' % 10**400, 200, id="beyond every float"),
        pytest.param(b"[" * 100_000, 200, id="too deep"),
        pytest.param(b"{}", 503, id="another status"),
    ],
)
def test_wrong_response_is_an_error(bundle: Bundle, body: bytes, status: int) -> None:
    with answering(body, status) as url, Traffic(url, {"7": bundle}, clients=1) as traffic:
        wait_until(lambda: traffic.errors.total() > 1)  # the client continues after an error
        with pytest.raises(TimeoutError):
            traffic.wait_for_answers(1, seconds=0)
    assert traffic.errors.total() == traffic.sent


def test_right_response_is_no_error(bundle: Bundle) -> None:
    columns = {name: [value] for name, value in bundle.samples[0].features.items()}
    answer = {"model_version": "7", "churn_probability": float(bundle.predict(columns)[0])}
    with answering(json.dumps(answer).encode()) as url, Traffic(url, {"7": bundle}, clients=1) as traffic:
        traffic.wait_for_answers(2)
    assert (traffic.answers["7"], traffic.errors.total()) == (traffic.sent, 0)
