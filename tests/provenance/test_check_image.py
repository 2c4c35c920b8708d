"""``python -m include.provenance``: an image is checked against its statement, and any difference is an error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from include.provenance.__main__ import app
from include.provenance.signature import create_keys, sign
from include.provenance.statement import PROVENANCE_FILE, ProvenanceError, checksums_of
from tests.provenance.conftest import Signed

DIGEST = "sha256:" + "5" * 64
MODEL = ("--project", "grocery", "--model-version", "7")


def call(command: str, signed: Signed, *options: object) -> Result:
    common = ["--bento", signed.bento, "--public-key", signed.public]
    return CliRunner().invoke(app, [command, *map(str, [*common, *options])])


def check(signed: Signed, image: str = DIGEST, *options: object) -> Result:
    return call("check-image", signed, "--image", image, "--statement", signed.bento.parent / "image.json", *options)


@pytest.fixture
def image(signed: Signed) -> Signed:
    """The Bento with a signed statement about its image."""
    done = call("sign-image", signed, *MODEL, "--image", DIGEST, "--signing-key", signed.private)
    assert done.exit_code == 0, done.output
    (signed.bento.parent / "image.json").write_text(done.stdout)
    return signed


@pytest.mark.parametrize("name", [DIGEST, f"registry.example:5000/churn-serving@{DIGEST}"])
def test_unchanged_image_is_accepted(image: Signed, name: str) -> None:
    for options in (MODEL, ()):
        done = check(image, name, *options)
        assert (done.exit_code, done.exception) == (0, None)
        assert "Version 7 of grocery has the checksums" in done.stdout


def test_every_flipped_byte_of_the_image_is_refused(image: Signed) -> None:
    files = [image.bento.parent / "image.json", *sorted(path for path in image.bento.rglob("*") if path.is_file())]
    for file in files:
        content = file.read_bytes()
        for place in range(0, len(content), 1 if len(content) < 100 else 97):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert isinstance(check(image).exception, ProvenanceError), (file.name, place)
        file.write_bytes(content)
    assert check(image).exit_code == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda bento: (bento / "src" / "__pycache__").mkdir() or (bento / "src/__pycache__/service.pyc").touch(),
        lambda bento: (bento / "src/service.py").unlink(),
        lambda bento: (bento / "src/service.py").rename(bento / "service.py"),
        lambda bento: (bento / PROVENANCE_FILE).unlink(),
    ],
    ids=["new file", "missing file", "moved file", "no provenance"],
)
def test_other_files_in_the_image_are_refused(image: Signed, change: Callable[[Path], object]) -> None:
    change(image.bento)
    assert isinstance(check(image).exception, ProvenanceError)


@pytest.mark.parametrize("name", ["sha256:" + "4" * 64, "registry.example/churn-serving:model-v7", ""])
def test_other_image_is_refused(image: Signed, name: str) -> None:
    error = check(image, name).exception
    assert isinstance(error, ProvenanceError)
    assert "image of model version 7 differs" in str(error)


@pytest.mark.parametrize("options", [("--project", "subscription"), ("--model-version", "8")])
def test_other_model_is_refused(image: Signed, options: tuple[str, str]) -> None:
    assert "is of version 7 of the project grocery" in str(check(image, DIGEST, *options).exception)


def test_statement_about_another_bento_of_the_version_is_refused(image: Signed) -> None:
    """Both statements are signed: the image was built from a Bento that was packaged again."""
    (image.bento / "src/service.py").write_text("other code")
    again = image.provenance.with_link("bento", checksums_of(image.bento))
    (image.bento / PROVENANCE_FILE).write_text(sign(again.as_statement(), image.private))
    assert "contains another Bento" in str(check(image).exception)


@pytest.mark.parametrize("command", [check, lambda signed: call("sign-image", signed, *MODEL, "--image", DIGEST)])
def test_other_key_is_refused(image: Signed, tmp_path: Path, command: Callable[[Signed], Result]) -> None:
    image.public.unlink()
    create_keys(tmp_path / "other.pem", image.public)
    shutil.copy(tmp_path / "other.pem", image.private)
    if command is check:
        assert "not signed with a trusted key" in str(check(image).exception)
    else:
        done = call("sign-image", image, *MODEL, "--image", DIGEST, "--signing-key", image.private)
        assert "not signed with a trusted key" in str(done.exception)


def test_statement_without_the_image_and_an_empty_statement_are_refused(image: Signed) -> None:
    """A pod without the annotation has an empty file."""
    statement = image.bento.parent / "image.json"
    shutil.copy(image.bento / PROVENANCE_FILE, statement)
    assert "image of model version 7 differs from its provenance: image" in str(check(image).exception)
    statement.write_bytes(b"")
    assert "cannot be read" in str(check(image).exception)
    statement.unlink()
    assert check(image).exit_code == 2


def test_private_key_is_not_overwritten(signed: Signed) -> None:
    before = signed.private.read_bytes()
    assert signed.private.stat().st_mode & 0o077 == 0
    with pytest.raises(ProvenanceError, match="The file exists"):
        create_keys(signed.private, signed.public)
    assert signed.private.read_bytes() == before
