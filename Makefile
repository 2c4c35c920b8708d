# The commands for development, hooks and CI. `make help` lists them.
# Needs git, make and any Python from 3.9 as `python3`. Everything else comes from the lock into .venv/.

# The interpreter of .venv. By default uv takes the first Python 3.11, 3.12 or 3.13 that it finds, else it downloads one.
# For another one: make env PYTHON=python3.12
PYTHON ?= >=3.11,<3.14
# The interpreter that installs uv.
BOOTSTRAP_PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .uv/bin/uv
BIN := .venv/bin
# KEEP=0 stops the stack after a successful demo.
KEEP ?= 1
# Processes that run tests; one of them runs the end-to-end tests, which mostly wait.
WORKERS ?= 3

# Python compiles each module once and stores its bytecode. Where this variable is set, every process would compile all its
# imports again, which doubles the time of an import of Great Expectations or MLflow.
export PYTHONDONTWRITEBYTECODE :=

UV_STAMP := .uv/.version-$(UV_VERSION)
ENV_STAMP := .venv/.synced
SPARK_STAMP := .venv/.spark

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help env spark demo up down status backup restore upgrade drill airflow test lint audit format hooks lock release docs bench loadtest reproduce faults equivalence timelapse \
	images compose-secrets compose-up compose-down compose-test

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

env: $(ENV_STAMP)  ## Build .venv from the lock

spark: $(SPARK_STAMP)  ## Add Spark to .venv, for CHURN_ENGINE=spark and its tests; Spark needs Java 17

demo: $(ENV_STAMP)  ## Run the whole chain on real data (KEEP=0 stops the stack afterwards)
	@$(BIN)/python -m local demo $(if $(filter 0 no false,$(KEEP)),--no-keep)

up: $(ENV_STAMP)  ## Start the local stack and leave it running
	@$(BIN)/python -m local up

down: $(ENV_STAMP)  ## Stop the local stack
	@$(BIN)/python -m local down

status: $(ENV_STAMP)  ## Show the processes of the local stack
	@$(BIN)/python -m local status

backup: $(ENV_STAMP)  ## Back up the local stack to a new folder below TO: make backup TO=/mnt/backups
	@test -n "$(TO)" || { echo "Usage: make backup TO=<folder>" >&2; exit 2; }
	@$(BIN)/python -m local backup --to "$(TO)"

restore: $(ENV_STAMP)  ## Stop the local stack and restore a backup: make restore FROM=... [REPLACE=1]
	@test -n "$(FROM)" || { echo "Usage: make restore FROM=<folder of a backup> [REPLACE=1]" >&2; exit 2; }
	@$(BIN)/python -m local restore --from "$(FROM)" $(if $(filter 1 yes true,$(REPLACE)),--replace)

upgrade: $(ENV_STAMP)  ## Upgrade the data that an earlier release wrote: make upgrade [ARGS=--dry-run]
	@$(BIN)/python -m include.upgrade $(ARGS)

drill: $(ENV_STAMP)  ## Back up, destroy and restore a copy of the local stack's data, and compare it
	@$(BIN)/python -m local drill

airflow: $(ENV_STAMP)  ## Run Airflow's command line on the local stack: make airflow ARGS="dags list"
	@bin/airflow $(ARGS)

# One collection for all tests. tests/scheduling.py orders them: end to end beside fast and slow files, then those on the clock.
# make test ARGS=--store-durations records the seconds by which the files are ordered.
test: $(ENV_STAMP)  ## Run all tests; print the 15 slowest
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --durations 15 --durations-min 1 $(ARGS)

lint: $(ENV_STAMP)  ## Check style, types, the import contract, configuration files and the lock; needs no network
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(wildcard .github/workflows/*.yml)
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout $(wildcard .github/workflows/*.yml)
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml
	$(BIN)/zizmor --offline --no-progress .github
	$(BIN)/hadolint Dockerfile
	$(BIN)/codespell
	$(BIN)/python -m local.lock

# Only the packages of the images. --strict: a package without data is an error. For a vulnerability without a fix, add
# --ignore-vuln ID here, and its reason to SECURITY.md.
audit: $(ENV_STAMP)  ## Check the licences and the known vulnerabilities of the locked runtime packages; needs the network
	$(BIN)/pip-licenses --summary --packages $$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/\1/p' requirements.txt)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements.txt

format: $(ENV_STAMP)  ## Format the code and apply the safe fixes of the linter
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

hooks: $(ENV_STAMP)  ## Install the Git hooks: the checks of `make lint` for the files of a commit
	$(BIN)/pre-commit install

docs: $(ENV_STAMP)  ## Build the documentation site into var/site; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# --fork-strategy fewest: one version of a package for all Python versions and platforms where one exists.
lock: $(UV_STAMP)  ## Pin all dependencies of pyproject.toml again
	@digest=$$($(UV) run -q --no-project --python "$(PYTHON)" local/lock.py --digest) && \
	compile() { $(UV) pip compile --universal --python-version 3.11 --fork-strategy fewest --no-emit-index-url \
		--no-annotate --generate-hashes -q --custom-compile-command "make lock ($$digest)" "$$@"; } && \
	compile pyproject.toml --all-extras -o requirements.txt && \
	compile pyproject.toml --all-extras --group dev -c requirements.txt -o requirements-dev.txt && \
	compile --group spark -c requirements.txt -o requirements-spark.txt

release: $(ENV_STAMP)  ## Set the version, commit and tag: make release VERSION=1.2.3
	@test -n "$(VERSION)" || { echo "Usage: make release VERSION=1.2.3" >&2; exit 2; }
	@bash release/product.sh "$(VERSION)"

reproduce: $(ENV_STAMP)  ## Rebuild the data set of a run and compare: make reproduce RUN=... (DELTA=1: from the lake)
	@test -n "$(RUN)" || { echo "Usage: make reproduce RUN=<MLflow run id>" >&2; exit 2; }
	@$(BIN)/python -m include.versions reproduce --run "$(RUN)" $(if $(filter 1 yes true,$(DELTA)),--delta)

bench: $(ENV_STAMP) $(if $(filter spark,$(NAME)),$(SPARK_STAMP))  ## Run one benchmark: make bench NAME=... [ARGS="--help"]
	@test -n "$(NAME)" || { echo "Usage: make bench NAME=... (a module of benchmarks/)" >&2; exit 2; }
	@$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

loadtest: $(ENV_STAMP)  ## Load the running endpoint and check its requirements: make loadtest [URL=...] [SECONDS=30] [CONNECTIONS=64 | LIMIT=1]
	@$(BIN)/python -m include.serving.load_test $(if $(URL),--url "$(URL)") $(if $(SECONDS),--seconds "$(SECONDS)") \
		$(if $(CONNECTIONS),--connections "$(CONNECTIONS)") $(if $(REQUESTS),--requests "$(REQUESTS)") \
		$(if $(filter 1 yes true,$(LIMIT)),--limit)

images: $(ENV_STAMP)  ## Build the images, start each of them without rights, and print their sizes (Docker or podman)
	@$(BIN)/python -m benchmarks.images

compose-secrets: $(ENV_STAMP)  ## Write the missing secrets of docker-compose.yaml to .env
	@$(BIN)/python -m local.compose_secrets

compose-up: compose-secrets  ## Start the whole product in containers (docker-compose.yaml)
	docker compose up --build --detach --wait

compose-down:  ## Stop the containers; the volumes stay
	docker compose down

compose-test: $(ENV_STAMP)  ## Run the chain in containers of their own, with a killed worker and a swap (Docker or podman)
	@$(BIN)/python -m benchmarks.compose

timelapse: $(ENV_STAMP)  ## Run 150 simulated days under Airflow with a change of the causes of churn: make timelapse [ARGS="--help"]
	@$(BIN)/python -m benchmarks.timelapse $(ARGS)

faults: $(ENV_STAMP)  ## Kill the ingest at random moments, run it again, and count lost and duplicate rows
	@$(BIN)/python -m benchmarks.faults

equivalence: $(ENV_STAMP)  ## Compare a backfill in random order, four days at a time, with daily runs
	@$(BIN)/python -m benchmarks.equivalence

# Without the venv module's pip (Debian without python3-venv), pip itself unpacks uv.
$(UV_STAMP):
	@command -v $(BOOTSTRAP_PYTHON) >/dev/null || { \
		echo "$(BOOTSTRAP_PYTHON) was not found. Remedy: install any Python from 3.9, or name one: make env BOOTSTRAP_PYTHON=..." >&2; \
		exit 1; }
	@echo "Installing uv $(UV_VERSION) into .uv/ ..." >&2
	@rm -rf .uv
	@{ $(BOOTSTRAP_PYTHON) -m venv .uv && .uv/bin/python -m pip install -q uv==$(UV_VERSION); } >&2 || \
		{ rm -rf .uv && $(BOOTSTRAP_PYTHON) -m pip install -q --target .uv uv==$(UV_VERSION) >&2; }
	@touch $@

$(ENV_STAMP): requirements-dev.txt | $(UV_STAMP)
	@echo "Installing the locked packages into .venv/ ..." >&2
	@test -x $(BIN)/python || $(UV) venv -q .venv --python "$(PYTHON)" || { \
		echo "No interpreter for .venv. Remedy: install Python 3.11, 3.12 or 3.13, or name one: make env PYTHON=..." >&2; \
		exit 1; }
	@$(UV) pip sync -q --python $(BIN)/python requirements-dev.txt
	@touch $@

$(SPARK_STAMP): requirements-spark.txt $(ENV_STAMP)
	@$(UV) pip install -q --python $(BIN)/python --no-deps --require-hashes --requirement requirements-spark.txt
	@touch $@
