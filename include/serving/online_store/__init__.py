"""The newest features of each customer, for requests that contain only a customer id."""

from __future__ import annotations

from include.serving.online_store.base import CustomerFeatures, OnlineStore, StoreError
from include.settings import Settings

__all__ = ["CustomerFeatures", "OnlineStore", "StoreError", "open_store"]


def open_store(settings: Settings) -> OnlineStore | None:
    """Return the configured online store, which may not contain any data yet; None for the backend ``none``."""
    store = settings.serving.store
    if store.backend == "redis":
        from include.serving.online_store.redis_store import RedisStore

        return RedisStore(store.url, settings.project, store.timeout_seconds)
    if store.backend == "embedded":
        from include.serving.online_store.lmdb_store import LmdbStore

        return LmdbStore(settings.home / "online_store" / settings.project, settings.project)
    return None
