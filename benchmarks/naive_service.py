"""The naive baseline of ``benchmarks/serving.py``: FastAPI, a dictionary of features, a pandas frame for each request.

Unlike many examples of this kind, the model predicts with one thread, as the endpoint does. With XGBoost's default
number of threads, the threads wait for each other, and the service is several times slower.
"""

from __future__ import annotations

import os
from typing import Any

import mlflow.xgboost
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = mlflow.xgboost.load_model(os.environ["NAIVE_MODEL_URI"])


class PredictionRequest(BaseModel):
    """One customer."""

    customer_id: str
    features: dict[str, Any]


class PredictionResponse(BaseModel):
    """The prediction for one customer."""

    customer_id: str
    churn_probability: float
    prediction: str
    model_version: str


@app.get("/health")
def health() -> dict[str, Any]:
    """Return the state of the service; the model is loaded before the first request."""
    return {"status": "healthy", "model_loaded": True}


@app.post("/predict")
async def predict(request: PredictionRequest) -> PredictionResponse:
    """Return the churn probability of one customer."""
    frame = pd.DataFrame([request.features])
    probability = float(model.predict_proba(frame)[0, 1])
    return PredictionResponse(
        customer_id=request.customer_id,
        churn_probability=probability,
        prediction="churn" if probability >= 0.5 else "retain",
        model_version="1",
    )
