"""The model bundle: a folder with booster, calibrator, input contract, sample predictions and reference profile.

Training writes the bundle, MLflow stores it, and deployment packages it. No file is pickled, and a manifest of
checksums detects damage. The module imports little, since it is shipped with the service.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from include.errors import ChurnflowError
from include.local_files import file_checksum
from include.plurals import counted
from include.training.model.calibrator import Calibrator
from include.training.model.contract import FORMAT, ModelContract

if TYPE_CHECKING:
    import xgboost as xgb

MODEL_FILE = "model.ubj"
CALIBRATOR_FILE = "calibrator.json"
CONTRACT_FILE = "contract.json"
SAMPLES_FILE = "samples.json"
PROFILE_FILE = "profile.json"
MANIFEST_FILE = "manifest.json"
PREDICTION_TOLERANCE = 1e-6
"""Largest allowed difference between a probability recorded by training and the same prediction of a server."""
_FORMAT_0_1_0 = 2
"""The format of release 0.1.0: without reference profile, half-life and evaluation."""
_FILES = (MODEL_FILE, CALIBRATOR_FILE, CONTRACT_FILE, SAMPLES_FILE, PROFILE_FILE)


class BundleError(ChurnflowError):
    """A model bundle is incomplete, damaged or inconsistent."""


class Sample(BaseModel):
    """One customer's features and predicted probability, recorded by training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: dict[str, float | str | None]
    churn_probability: float


def predictions_match(probability: float, recorded: float) -> bool:
    """Return whether a probability equals the recorded one within ``PREDICTION_TOLERANCE``; NaN never does.

    Args:
        probability: The probability predicted now.
        recorded: The probability that training recorded for the same features.
    """
    return abs(probability - recorded) <= PREDICTION_TOLERANCE


@dataclass(frozen=True)
class Bundle:
    """A model that is ready to be served.

    Attributes:
        contract: Its inputs and its decision threshold.
        booster: The XGBoost model.
        samples: Predictions recorded by training, to compare a server's predictions with.
        calibrator: Turns the booster's log-odds into probabilities.
        profile: The reference profile for drift detection as JSON; see ``include.training.model.reference_profile``.
            Serving does not read it. It is empty before the end of the training.
    """

    contract: ModelContract
    booster: xgb.Booster
    samples: tuple[Sample, ...] = ()
    calibrator: Calibrator = field(default_factory=Calibrator)
    profile: bytes = b""

    def save(self, folder: Path) -> None:
        """Write the bundle into ``folder``, the manifest last: a partly written bundle has no manifest.

        Raises:
            BundleError: The booster does not have the contract's number of features.
        """
        self._check_width(str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST_FILE).unlink(missing_ok=True)
        self.booster.save_model(folder / MODEL_FILE)
        (folder / CALIBRATOR_FILE).write_text(self.calibrator.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / CONTRACT_FILE).write_text(self.contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
        samples = [sample.model_dump() for sample in self.samples]
        (folder / SAMPLES_FILE).write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")
        (folder / PROFILE_FILE).write_bytes(self.profile)
        manifest = {name: file_checksum(folder / name) for name in _FILES}
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the bundle in ``folder``, which this release or release 0.1.0 wrote.

        Raises:
            BundleError: A file is missing, invalid, or differs from the manifest, or the bundle has another format.
        """
        import xgboost as xgb  # takes seconds to import, and a runner of servers loads no booster

        old = _require_format(folder) == _FORMAT_0_1_0
        _verify_manifest(folder, [name for name in _FILES if not (old and name == PROFILE_FILE)])
        try:
            calibrator = Calibrator.model_validate_json((folder / CALIBRATOR_FILE).read_bytes())
            content = (folder / CONTRACT_FILE).read_bytes()
            contract = ModelContract.model_validate_json(_converted(content) if old else content)
            samples = TypeAdapter(tuple[Sample, ...]).validate_json((folder / SAMPLES_FILE).read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise _damaged(folder, f"{error.title} cannot be read at {key or 'its root'}: {first['msg']}.") from error
        try:
            booster = xgb.Booster(params={"nthread": 1}, model_file=folder / MODEL_FILE)
        except xgb.core.XGBoostError as error:
            raise _damaged(folder, f"{MODEL_FILE} is not an XGBoost model.") from error
        profile = b"" if old else (folder / PROFILE_FILE).read_bytes()
        bundle = cls(contract, booster, samples, calibrator, profile)
        bundle._check_width(str(folder))
        return bundle

    def predict(self, columns: Any) -> NDArray[np.float32]:
        """Return the churn probability of each row of ``columns``, shape (n,).

        Args:
            columns: The contract's features as ``ModelContract.encode`` takes them.

        Raises:
            EncodingError: ``columns`` does not have the contract's columns or types.
        """
        return self.predict_matrix(self.contract.encode(columns))

    def predict_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the churn probability of each row of an encoded matrix (n, k), shape (n,)."""
        return self.calibrator.probabilities(margins(self.booster, matrix))

    def _check_width(self, where: str) -> None:
        if self.booster.num_features() != len(self.contract.features):
            raise BundleError(
                f"The booster has {counted(self.booster.num_features(), 'input')}, but its contract has "
                f"{len(self.contract.features)}.",
                where=where,
                remedy="Train the model again with the features of its contract.",
            )


def margins(booster: xgb.Booster, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a booster's log-odds, from all of its trees.

    Args:
        booster: The XGBoost model.
        matrix: Encoded rows, shape (n, k).

    Returns:
        Log-odds of churn, shape (n,).
    """
    if not len(matrix):
        return np.empty(0, dtype=np.float32)
    log_odds: NDArray[np.float32] = booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
    return log_odds


def _require_format(folder: Path) -> object:
    try:
        found = json.loads((folder / CONTRACT_FILE).read_bytes())["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the bundle is damaged; the next checks name the damaged file
    if found not in (FORMAT, _FORMAT_0_1_0):
        raise BundleError(
            f"The bundle has format {found}; this version of the code reads format {FORMAT}.",
            where=f"model bundle {folder}",
            remedy="Train a model again with churn_train, or use the version of the code that wrote the bundle.",
        )
    return found


def _converted(contract: bytes) -> bytes:
    """Return the contract of a bundle of release 0.1.0 as a contract of this release."""
    content = {key: value for key, value in json.loads(contract).items() if key not in ("model_version", "held_out")}
    return json.dumps(content | {"format": FORMAT}).encode()


def _verify_manifest(folder: Path, names: list[str]) -> None:
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        expected = {name: manifest[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{MANIFEST_FILE} is missing or unreadable.") from error
    for name, checksum in expected.items():
        if not (folder / name).is_file():
            raise _damaged(folder, f"{name} is missing.")
        if file_checksum(folder / name) != checksum:
            raise _damaged(folder, f"{name} differs from its checksum in {MANIFEST_FILE}.")


def _damaged(folder: Path, what: str) -> BundleError:
    return BundleError(what, where=f"model bundle {folder}", remedy="Fetch the bundle from the registry again.")
