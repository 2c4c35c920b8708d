"""Everything that answers with one model, put together."""

from __future__ import annotations

from include.serving.endpoint.app import Routes
from include.serving.endpoint.batch_arrow import ArrowBatchReader
from include.serving.endpoint.batch_json import JsonBatchReader
from include.serving.endpoint.batch_scorer import BatchScorer
from include.serving.endpoint.batches import BatchPredictor
from include.serving.endpoint.description import Description
from include.serving.endpoint.openapi import openapi
from include.serving.endpoint.predict import Explainer, Predictor
from include.serving.endpoint.requests import RequestReader
from include.serving.endpoint.scorer import Scorer
from include.serving.endpoint.stored import StoredFeatures
from include.serving.online_store import open_store
from include.serving.prediction_log.log import open_prediction_log
from include.settings import Settings
from include.training.model.bundle import Bundle


class Endpoint:
    """The endpoint of one model in one server process.

    Args:
        bundle: The model.
        bento: The version of the Bento that holds it.
        settings: The deployment's settings. Stored features are those of the model's project, and so is the log,
            whatever project the settings name: a pod is told of none.

    Attributes:
        routes: What it answers.
    """

    def __init__(self, bundle: Bundle, bento: str, settings: Settings) -> None:
        contract, serving = bundle.contract, settings.serving
        # The version of a Bento is <model version>-<checksum of its files>; see build_bento.
        model_version = bento.rpartition("-")[0]
        settings = settings.model_copy(update={"project": contract.project})
        self._log = open_prediction_log(contract, model_version, bento, settings)
        self._stored = StoredFeatures(contract, open_store(settings), serving.stale_after_days)
        refuse = serving.out_of_range == "refuse"
        reader = RequestReader(contract, refuse)
        batch_reader = JsonBatchReader(contract, refuse, serving.max_batch_rows)
        batches = BatchPredictor(
            contract,
            model_version,
            batch_reader,
            ArrowBatchReader(contract, refuse, serving.max_batch_rows),
            BatchScorer(bundle, self._log),
        )
        explainer = Explainer(bundle, serving.reasons_per_direction)
        predictor = Predictor(contract, model_version, reader, self._stored, Scorer(bundle, self._log), explainer)
        description = Description(
            contract,
            model_version,
            bento,
            openapi(contract, model_version, bundle.samples, reader.model, batch_reader.model),
        )
        self.routes: Routes = {
            "/predict": ("POST", predictor.answer),
            "/predict_batch": ("POST", batches.answer),
            "/health": ("GET", description.health),
            "/model": ("GET", description.model),
            "/metrics": ("GET", description.metrics),
            "/openapi.json": ("GET", description.openapi),
        }

    async def start(self) -> None:
        """Start what works beside the requests."""
        await self._log.start()

    async def close(self) -> None:
        """Finish it: the log of the last answers is written."""
        await self._log.close()
        await self._stored.close()
