"""A simulated cluster: the part of the Kubernetes API that a ``KubernetesPodOperator`` and its trigger use.

It has no ``exec``: the only command that it runs is the command of a pod.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.kubernetes.pod import Cluster, Fate, Pod
from tests.kubernetes.protocol import TOKEN, failure, kubeconfig

RIGHTS = {
    "pods": {"create", "get", "list", "patch", "delete"},
    "pods/log": {"get"},
    "events": {"list", "watch"},
}
"""The rules of the chart's role. Other requests are rejected, as in a cluster."""

PODS = "/api/v1/namespaces/{namespace}/pods"
POD = PODS + "/{name}"


class KubernetesApi:
    """The API of a simulated cluster.

    Args:
        cluster: The volumes, secrets and image of the pods.

    Attributes:
        fates: The fates of the next pods, in order; later pods run normally.
        cut_logs: Number of the next log responses that are interrupted.
        created: All pods, the oldest first.
        pods: The pods that were not deleted, by name.
        url: The URL of the API.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.fates: list[Fate] = []
        self.cut_logs = 0
        self.created: list[Pod] = []
        self.pods: dict[str, Pod] = {}
        self.url = ""
        self._running: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """Return the application with its routes."""
        application = web.Application(middlewares=[_authorize])
        application.add_routes(
            [
                web.post(PODS, self._create),
                web.get(PODS, self._list),
                web.get(POD, self._read),
                web.patch(POD, self._patch),
                web.delete(POD, self._delete),
                web.get(f"{POD}/log", self._log),
                web.get("/api/v1/namespaces/{namespace}/events", self._events),
            ]
        )
        return application

    async def close(self) -> None:
        """Stop the running pods."""
        for pod in self.created:
            pod.kill()
        await asyncio.gather(*self._running)

    async def _create(self, request: web.Request) -> web.Response:
        manifest = await request.json()
        manifest["metadata"]["namespace"] = request.match_info["namespace"]
        pod = Pod(manifest, self.cluster, self.fates.pop(0) if self.fates else Fate.RUNS)
        self.created.append(pod)
        self.pods[pod.name] = pod
        task = asyncio.create_task(pod.run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return web.json_response(pod.as_dict(), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        selector = request.query.get("labelSelector", "")
        found = [pod.as_dict() for pod in self.pods.values() if _matches(pod.labels, selector)]
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": found})

    async def _read(self, request: web.Request) -> web.Response:
        pod = self._found(request)
        shown = pod.as_dict()
        if pod.phase == "Running":
            pod.read_while_running.set()
        if pod.fate is Fate.VANISHES and pod.ended:
            del self.pods[pod.name]
        return web.json_response(shown)

    async def _patch(self, request: web.Request) -> web.Response:
        pod = self._found(request)
        pod.labels.update((await request.json())["metadata"]["labels"])
        return web.json_response(pod.as_dict())

    async def _delete(self, request: web.Request) -> web.Response:
        pod = self._found(request)
        pod.kill()
        del self.pods[pod.name]
        return web.json_response(pod.as_dict())

    async def _log(self, request: web.Request) -> web.StreamResponse:
        pod = self._found(request)
        if pod.phase == "Pending":
            raise _error_response(web.HTTPBadRequest, f'container "base" in pod "{pod.name}" is waiting to start')
        follow = request.query.get("follow", "").lower() == "true"
        stamped = request.query.get("timestamps", "").lower() == "true"
        seconds = request.query.get("sinceSeconds")
        since = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=int(seconds)) if seconds else None
        response = web.StreamResponse()
        await response.prepare(request)
        sent = 0
        while True:
            ended = pod.ended  # read before the log, so that no last line is lost
            for moment, line in pod.log[sent:]:
                sent += 1
                if since and moment < since:
                    continue
                await response.write((moment.isoformat().encode() + b" " if stamped else b"") + line)
                if self.cut_logs:
                    self.cut_logs -= 1
                    assert request.transport is not None
                    request.transport.close()
                    return response
            if ended or not follow:
                break
            await asyncio.sleep(0.05)
        await response.write_eof()
        return response

    async def _events(self, request: web.Request) -> web.Response:
        if request.query.get("watch", "").lower() == "true":
            await asyncio.sleep(int(request.query["timeoutSeconds"]))  # no event comes
            return web.Response()
        return web.json_response({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})

    def _found(self, request: web.Request) -> Pod:
        name = request.match_info["name"]
        if name not in self.pods:
            raise _error_response(web.HTTPNotFound, f'pods "{name}" not found')
        return self.pods[name]


@contextmanager
def kubernetes_api(cluster: Cluster) -> Iterator[KubernetesApi]:
    """Serve the API on a free local port, in a thread, and stop its pods afterwards."""
    api = KubernetesApi(cluster)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(api.application(), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = "http://{}:{}".format(*runner.addresses[0])
        return runner

    async def stop(runner: web.AppRunner) -> None:
        await api.close()
        await runner.cleanup()

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield api
    finally:
        asyncio.run_coroutine_threadsafe(stop(runner), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def write_kubeconfig(api: KubernetesApi, path: Path) -> Path:
    """Write the client configuration for ``api`` to ``path``."""
    path.write_text(json.dumps(kubeconfig(api.url)))
    return path


@web.middleware
async def _authorize(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        raise _error_response(web.HTTPUnauthorized, "Unauthorized")
    resource, verb = _resource_and_verb(request)
    if verb not in RIGHTS.get(resource, ()):
        raise _error_response(web.HTTPForbidden, f'User "airflow" cannot {verb} resource "{resource}"')
    answer: web.StreamResponse = await handler(request)
    return answer


def _resource_and_verb(request: web.Request) -> tuple[str, str]:
    """Return the resource and the verb of a request, as roles name them."""
    kind, *rest = request.path.split("/")[5:]  # /api/v1/namespaces/NAMESPACE/pods/NAME/log
    resource = "/".join([kind, *rest[1:]])
    if request.method != "GET":
        return resource, {"POST": "create", "PATCH": "patch", "DELETE": "delete"}[request.method]
    if rest:
        return resource, "get"
    return resource, "watch" if request.query.get("watch", "").lower() == "true" else "list"


def _error_response(kind: type[web.HTTPError], message: str) -> web.HTTPError:
    return kind(text=json.dumps(failure(kind.status_code, message)), content_type="application/json")


def _matches(labels: dict[str, str], selector: str) -> bool:
    return all(_matches_term(labels, term) for term in selector.split(",") if term)


def _matches_term(labels: dict[str, str], term: str) -> bool:
    if term.startswith("!"):
        return term[1:] not in labels
    if "!=" in term:
        key, value = term.split("!=")
        return labels.get(key) != value
    key, _, value = term.partition("=")
    return labels.get(key) == value
