"""Drills: a key is replaced while both keys are accepted, and the old key is refused afterwards."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from include.provenance.check import require_bento
from include.provenance.signature import create_keys, sign
from include.provenance.statement import PROVENANCE_FILE, Provenance, ProvenanceError, checksums_of
from include.serving.endpoint.authentication import Authentication
from include.serving.endpoint.keys import KeyRing, add_key, revoke_key


def signed_bento(folder: Path, private: Path) -> Path:
    folder.mkdir()
    (folder / "bento.yaml").write_text("the content of a Bento")
    provenance = Provenance("grocery", "run-1", folder.name).with_link("bento", checksums_of(folder))
    (folder / PROVENANCE_FILE).write_text(sign(provenance.as_statement(), private))
    return folder


def test_signing_key(tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    for name in ("old", "new"):
        create_keys(tmp_path / f"{name}.pem", tmp_path / f"{name}-public.pem")
    old, new = (signed_bento(tmp_path / f"bento-{name}", tmp_path / f"{name}.pem") for name in ("old", "new"))

    def accepted() -> list[str]:
        found = []
        for bento in (old, new):
            try:
                require_bento(bento, "grocery", bento.name, trusted)
                found.append(bento.name)
            except ProvenanceError as error:
                assert "not signed with a trusted key" in str(error)  # noqa: PT017
        return found

    shutil.copy(tmp_path / "old-public.pem", trusted)
    assert accepted() == ["bento-old"]
    trusted.write_bytes(trusted.read_bytes() + (tmp_path / "new-public.pem").read_bytes())
    assert accepted() == ["bento-old", "bento-new"]
    shutil.copy(tmp_path / "new-public.pem", trusted)
    assert accepted() == ["bento-new"]


@pytest.mark.parametrize("content", ["", "no key\n", "PUBLIC no key\n", "PUBLIC PUBLIC PRIVATE"])
def test_file_with_anything_but_public_keys_is_refused(tmp_path: Path, content: str) -> None:
    private, public, trusted = (tmp_path / name for name in ("key.pem", "public.pem", "trusted.pem"))
    create_keys(private, public)
    bento = signed_bento(tmp_path / "bento", private)
    trusted.write_text(content.replace("PUBLIC", public.read_text()).replace("PRIVATE", private.read_text()))
    with pytest.raises(ProvenanceError, match=r"key cannot be read.*trusted\.pem"):
        require_bento(bento, "grocery", "bento", trusted)


def test_api_key(tmp_path: Path) -> None:
    asyncio.run(rotate_api_key(tmp_path))


async def rotate_api_key(tmp_path: Path) -> None:
    async def respond(_: Request) -> PlainTextResponse:
        return PlainTextResponse("answered")

    file = tmp_path / "api-keys.json"
    keys = {"old": add_key(file, "crm-old")}
    app = Authentication(
        Starlette(routes=[Route("/predict", respond, methods=["POST"])]),
        KeyRing(file, reload_seconds=0),
        open_routes=(),
        failures_per_minute=9,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:3000") as client:

        async def accepted() -> list[str]:
            answers = {
                name: await client.post("/predict", headers={"Authorization": f"Bearer {key}"})
                for name, key in keys.items()
            }
            return [name for name, answer in answers.items() if answer.is_success]

        assert await accepted() == ["old"]
        keys["new"] = add_key(file, "crm-new")
        assert await accepted() == ["old", "new"]
        revoke_key(file, "crm-old")
        assert await accepted() == ["new"]


@pytest.mark.airflow
def test_fernet_key_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow reads connections with every key of the list, and writes them with the first."""
    from airflow.models.connection import Connection
    from airflow.models.crypto import get_fernet

    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()

    def use(keys: str) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", keys)
        get_fernet.cache_clear()

    try:
        use(old)
        connection = Connection(conn_id="slack_churn", conn_type="slackwebhook", password="planted")
        use(f"{new},{old}")
        assert connection.get_password() == "planted"
        connection.rotate_fernet_key()
        use(new)
        assert connection.get_password() == "planted"
        use(old)
        with pytest.raises(InvalidToken):
            connection.get_password()
        assert MultiFernet([Fernet(new)]).decrypt(connection._password.encode()) == b"planted"
    finally:
        get_fernet.cache_clear()
