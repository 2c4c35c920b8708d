# Three images:
#   airflow   every Airflow process of docker-compose.yaml, the MLflow server and the serving runner
#   training  the pods that tune and train on Kubernetes
#   serving   one built Bento:  docker build --target serving --build-context bento=PATH/OF/THE/BENTO .
#
# The base is pinned by tag. For reproducible builds, pass its digest:
#   --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/venv/bin:$PATH
RUN groupadd --gid 10001 churn \
    && useradd --uid 10001 --gid 10001 --home-dir /home/churn --create-home --shell /usr/sbin/nologin churn

FROM base AS builder
ARG UV_VERSION=0.13.9
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_PROGRESS=1 \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir "uv==${UV_VERSION}" \
    && uv venv --python python3.11 /opt/venv

# The whole lock, with hashes. Wheels only, so that no compiler is needed; the package without wheels is pure Python.
FROM builder AS locked
COPY requirements.txt /build/
RUN uv pip sync --no-cache --only-binary :all: --no-binary antlr4-python3-runtime --require-hashes \
    --python /opt/venv/bin/python /build/requirements.txt

# Without Airflow. The constraints give the versions and hashes of the lock.
FROM builder AS trained
COPY pyproject.toml requirements.txt /build/
RUN uv pip install --no-cache --only-binary :all: --no-binary antlr4-python3-runtime --python /opt/venv/bin/python \
    --requirement /build/pyproject.toml --constraint /build/requirements.txt

FROM base AS airflow
ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONPATH=/opt/churnflow \
    CHURN_HOME=/var/lib/churnflow \
    GIT_PYTHON_REFRESH=quiet
# The lineage events, see docs/lineage.md; the same as in local/environment.py.
ENV AIRFLOW__OPENLINEAGE__EXTRACTORS=dags.wiring.lineage.TaskLineage \
    AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD=True \
    AIRFLOW__OPENLINEAGE__EMISSION_POLICY='[{"scope": {}, "controls": {"emit_dag_events": false, "include_source_code": false}}]' \
    OPENLINEAGE__TRANSPORT__TYPE=transform \
    OPENLINEAGE__TRANSPORT__TRANSFORMER_CLASS=dags.wiring.lineage.WithoutUserInput \
    OPENLINEAGE__TRANSPORT__TRANSPORT__TYPE=file \
    OPENLINEAGE__TRANSPORT__TRANSPORT__FILESYSTEM=fsspec.implementations.local.LocalFileSystem \
    OPENLINEAGE__TRANSPORT__TRANSPORT__FS_KWARGS__AUTO_MKDIR=true
# A named volume inherits the owner of the folder that it covers.
RUN install --directory --owner=10001 --group=10001 \
    "$AIRFLOW_HOME" "$AIRFLOW_HOME/logs" "$AIRFLOW_HOME/auth" "$AIRFLOW_HOME/scrape" "$CHURN_HOME" /var/lib/mlflow
COPY --from=locked /opt/venv /opt/venv
WORKDIR /opt/churnflow
COPY include include
COPY dags dags
COPY plugins plugins
# The readiness checks read these files of the product.
COPY docs/architecture.md docs/monitoring.md docs/runbook.md docs/
COPY helm helm
COPY docker/grafana docker/grafana
COPY docker/prometheus docker/prometheus
COPY .github/workflows .github/workflows
COPY docker-compose.yaml pyproject.toml ./
USER 10001:10001
# No HEALTHCHECK: docker-compose.yaml defines one per process.
CMD ["airflow", "version"]

# The xgboost of the lock is the CUDA build with NCCL; the node provides the driver. The image writes only to /tmp and to the
# claim on /data: the rest of the file system can be read-only.
FROM base AS training
ENV PYTHONPATH=/opt/churnflow \
    CHURN_HOME=/data \
    HOME=/tmp \
    GIT_PYTHON_REFRESH=quiet \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=trained /opt/venv /opt/venv
WORKDIR /opt/churnflow
COPY include include
USER 10001:10001
# No HEALTHCHECK: Kubernetes ignores it. A pod's command replaces the entry point with the same command.
ENTRYPOINT ["python", "-m", "include.training"]

# Replaced by --build-context bento=...; without it the first COPY from this stage fails.
FROM scratch AS bento

# The requirements of the Bento, with the versions and hashes of the lock, without the parts that the endpoint does not import.
FROM builder AS served
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
COPY requirements.txt docker/serving-constraints.txt docker/slim.py /build/
COPY --from=bento env/python/requirements.txt /build/bento.txt
RUN UV_COMPILE_BYTECODE=0 uv pip install --no-cache --no-build --python /opt/venv/bin/python \
    --requirement /build/bento.txt --constraint /build/requirements.txt --constraint /build/serving-constraints.txt \
    && python /build/slim.py /opt/venv/lib/python3.11/site-packages
# This also compiles the modules that the endpoint imports. A server on a read-only file system would compile them at each start.
WORKDIR /bento/src
RUN --mount=type=bind,from=bento,target=/bento \
    PYTHONDONTWRITEBYTECODE="" python -c "import include.serving.endpoint.service, include.serving.server.__main__, include.provenance.__main__, xgboost"

FROM base AS serving
# The image writes only to /tmp: the rest of the file system can be read-only.
ENV BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=true \
    CHURN_HOME=/tmp \
    HOME=/tmp \
    OMP_NUM_THREADS=1
COPY --from=served /opt/venv /opt/venv
COPY --from=bento . /opt/bento
WORKDIR /opt/bento/src
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=30s --interval=10s --timeout=3s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
CMD ["python", "-m", "include.serving.server", "--bento", "/opt/bento", "--host", "0.0.0.0", "--port", "8000"]
