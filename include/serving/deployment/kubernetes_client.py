"""Requests to the Kubernetes API, with errors that state whether a retry can help."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from include.errors import ChurnflowError
from include.settings import ClusterSettings

_REQUEST_SECONDS = 10


class ClusterError(ChurnflowError):
    """The Kubernetes API refuses a request, or the Deployment does not exist."""


class UnreachableClusterError(ClusterError):
    """The Kubernetes API does not answer."""

    can_retry = True


class ConflictError(ClusterError):
    """The object was changed after the caller had read it."""

    can_retry = True


class KubernetesClient:
    """A client of the namespace of the endpoint.

    Args:
        settings: The namespace, the Deployment and its container.

    Attributes:
        where: The Deployment, for messages.

    Raises:
        ClusterError: There is no configuration of a cluster.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self.where = f"Deployment {settings.namespace}/{settings.deployment}"
        try:
            if file := os.environ.get("KUBECONFIG"):
                config.load_kube_config(file)
            else:
                config.load_incluster_config()
        except config.ConfigException as error:
            raise ClusterError(
                f"There is no configuration of a cluster: {error}",
                where="KUBECONFIG",
                remedy="Run in a pod with a service account, or set KUBECONFIG.",
            ) from error
        configuration = client.Configuration.get_default_copy()
        configuration.retries = False  # waiting loops repeat requests
        connection = client.ApiClient(configuration)
        self._apps, self._core = client.AppsV1Api(connection), client.CoreV1Api(connection)

    def _call(self, request: Callable[..., Any], *arguments: Any, **options: Any) -> dict[str, Any]:
        named = [arguments[0]] if arguments else []
        try:
            answer = request(
                *named,
                self._settings.namespace,
                *arguments[1:],
                _request_timeout=_REQUEST_SECONDS,
                _preload_content=False,
                **options,
            )
            result: dict[str, Any] = json.loads(answer.data)
        except ApiException as error:
            transient = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status == HTTPStatus.TOO_MANY_REQUESTS
            kind = UnreachableClusterError if transient else ClusterError
            if error.status == HTTPStatus.CONFLICT:
                kind = ConflictError
            raise kind(
                f"The Kubernetes API answered {error.status}: {_message(error)}",
                where=self.where,
                remedy="Check the name of the Deployment, and the rights of this process (docs/kubernetes.md).",
            ) from error
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise UnreachableClusterError(
                f"The Kubernetes API does not answer ({type(error).__name__}).",
                where=self.where,
                remedy="Check the address of the cluster and the network.",
            ) from error
        return result


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
