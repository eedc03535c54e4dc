# Every command of the project. `make help` lists them.
SHELL := /bin/sh
RUN := .venv/bin/python
export PYTHONPATH := $(CURDIR)
export MLFLOW_DISABLE_TELEMETRY := true
unexport PYTHONDONTWRITEBYTECODE # without bytecode every process compiles what it imports
DEMO := airflow,steps,quality,experiments,features,robustness,serve,demo,cpu
ALL := $(DEMO),openvino,paraphrases,train,observe,flags,test
COMPOSE ?= docker compose
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo demo-break demo-better demo-canary up down train doctor test test-fast coverage lint bench proof-spine proof-gate proof-gates proof-latency proof-data proof-gpu proof-rankers proof-robustness proof-segments test-k8s proof-parity proof-first-release bench-cluster proof-embeddings bench-embeddings proof-experiments proof-security proof-serving proof-features proof-erasure proof-drift proof-deploy proof-canary-k8s bench-experiments bench-reranker bench-serve proof-reranker figures install install-test clean constraints images scan stack-up stack-down proof-registry

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Settings: PYTHON=python3.12  TORCH_WHEELS=FOLDER_OR_URL  AIRFLOW_PORT=8080  MLFLOW_PORT=5000  SERVER_PORT=8089  PROMETHEUS_PORT=9090  RATCHET_HOME=FOLDER"
	@echo "  Your own data: make demo DATA=FILE_OR_FOLDER OPTIONS='--column id=sku --grades 0..3'  (python -m pipelines ingest --help)"

install:
	@demo/install.sh $(DEMO)

install-test:
	@demo/install.sh $(ALL)

demo: install ## Install, start everything, take a real corpus through to a served release; DATA=my.csv takes yours
	@$(RUN) -m demo $(if $(DATA),"$(DATA)" $(OPTIONS))

demo-break: install ## Plant three harms; each is refused, with its sentence
	@$(RUN) -m demo.harms

demo-better: ## Train a better encoder in Airflow; it passes the gate, serves, and is shown beside the one before
	@demo/install.sh $(DEMO),train
	@$(RUN) -m demo.better

demo-canary: install ## Deploy four releases by evidence under replayed searches with simulated clicks: three do harm and go back, one passes
	@$(RUN) -m demo.canary

up: install ## Start Airflow, MLflow and the search server in the background; OBSERVE=1 adds Prometheus with the alert rules
	@$(RUN) -m demo.services up $(if $(OBSERVE),airflow mlflow server prometheus)

down: ## Stop what `make up` or `make demo` started
	@if [ -x $(RUN) ]; then $(RUN) -m demo.services down; else echo "nothing runs: there is no .venv"; fi

train: install ## The same train in one process, without Airflow
	@$(RUN) -m pipelines.train

doctor: install ## Say what this machine lacks, and the fix
	@$(RUN) -m pipelines doctor

test: install-test build/dbt/bin/dbt ## Run every test, on all cores; writes build/bench/tests.json
	@$(RUN) -m pytest -n $(WORKERS) --max-worker-restart 0 --write-figures bench/tests

coverage: install-test ## The same, with what no test touches: a table, and build/coverage/index.html
	@$(RUN) -m pytest -n $(WORKERS) --max-worker-restart 0 --cov=pipelines --cov=plugins --cov=images/serve --cov-report=term:skip-covered --cov-report=html:build/coverage

test-fast: install-test ## The tests that start no service and make no model, for the inner loop
	@$(RUN) -m pytest -n $(WORKERS) --max-worker-restart 0 -m "not services"

lint: install-test ## Style, types, the doors between folders, the workflow file
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(RUN) -m tests.lint

bench: install-test ## Measure the spine; prints a table, writes build/bench/spine.json
	@$(RUN) -m benches.spine

bench-embeddings: install-test ## Measure encoders on real texts, SHORT=1 with fewer; writes build/bench/embeddings.json
	@$(RUN) -m benches.embeddings $(if $(SHORT),--short)

bench-reranker: install-test ## A quantized reranker beside sentence-transformers, and in the server; OPTIONS='--queries 100' less; writes build/bench/reranker.json
	@$(RUN) -m benches.reranker $(OPTIONS)

bench-serve: install-test ## The server over its release's bare calls, beside a plain server, swaps, memory of a million documents; OPTIONS='--searches 100' less; writes build/bench/serving.json
	@$(RUN) -m benches.serving $(OPTIONS)

proof-spine: install-test ## Races, kill points and planted harms; writes build/proof/spine.json
	@$(RUN) -m proofs.spine

proof-gate: install-test ## Simulate the gate's error rates; writes build/proof/gate.json
	@$(RUN) -m proofs.gate

proof-gates: install-test ## Error rates of a whole gate file on real pairs, creep, planted harms; ten minutes; writes build/proof/gates.json
	@$(RUN) -m proofs.gates

proof-latency: install-test ## How often a slower release is refused, by real servers; writes build/proof/latency.json
	@$(RUN) -m proofs.gates_latency

proof-data: install-test ## Formats, bad inputs and memory of ingest; writes build/proof/data.json
	@$(RUN) -m proofs.data

proof-reranker: install-test ## What training is worth on the icons, and four planted harms; ten minutes; EPOCHS=3; writes build/proof/reranker.json
	@$(RUN) -m proofs.reranker

proof-rankers: install-test ## What stages are worth on icons, electronics and MovieLens; writes build/proof/rankers.json
	@$(RUN) -m proofs.rankers

proof-registry: install-test ## Promotions killed and raced, who served when, rollbacks, tampering, on both kinds of servers; writes build/proof/registry.json
	@$(RUN) -m proofs.registry

proof-robustness: install-test ## What each perturbation costs the icons' champion; RATCHET_WORDNET names WordNet; writes build/proof/robustness.json
	@$(RUN) -m proofs.robustness

proof-segments: install-test ## Harms that only rules on segments and typos see, and the errors over many segments; writes build/proof/segments.json
	@$(RUN) -m proofs.segments

test-k8s: install-test ## Twelve faults on a real cluster, or FAULTS='1 8'; writes build/proof/faults.json, docs/faults.md
	@PYTHONPATH=$(CURDIR):$(CURDIR)/plugins $(RUN) -m cluster.make_faults

proof-canary-k8s: install-test ## A deployment by evidence over two pods of the serve StatefulSet, one of which goes; writes build/proof/canary-k8s.json
	@PYTHONPATH=$(CURDIR):$(CURDIR)/plugins $(RUN) -m cluster.canary

proof-parity: install-test ## The chain as processes and as pods, compared; writes build/proof/parity.json
	@PYTHONPATH=$(CURDIR):$(CURDIR)/plugins $(RUN) -m cluster.parity

bench-cluster: install-test ## What a pod costs; writes build/bench/cluster.json
	@PYTHONPATH=$(CURDIR):$(CURDIR)/plugins $(RUN) -m cluster.bench

proof-first-release: install-test ## docs/kubernetes.md from a clone to a search, with a registry; writes build/proof/first-release.json
	@PYTHONPATH=$(CURDIR):$(CURDIR)/plugins $(RUN) -m cluster.first_release

proof-embeddings: install-test ## Kills during a refresh and the icons' real history; writes build/proof/embeddings.json
	@$(RUN) -m proofs.embeddings

proof-experiments: install-test ## Error rates, coverage and power of A/B analysis; OBP=FOLDER adds real logs; writes build/proof/experiments.json
	@$(RUN) -m proofs.experiments $(if $(OBP),--obp "$(OBP)")

proof-security: install-test ## Scopes, limits, personal data, secrets, hostile requests and timing on real servers; writes build/proof/security.json
	@PYTHONPATH=$(CURDIR):$(CURDIR)/plugins $(RUN) -m proofs.security

proof-serving: ## Swaps and rollbacks under load, kills, store and disk gone, overload, a fuzzer; 15 minutes; OPTIONS='--swaps 5'; writes build/proof/serving.json
	@demo/install.sh $(ALL),test-services
	@PYTHONPATH=$(CURDIR):$(CURDIR)/plugins $(RUN) -m proofs.serving $(OPTIONS)

proof-drift: install-test ## False alarms of quiet days, planted drifts, memory of 10 million rows; OPTIONS='--seeds 5'; writes build/proof/drift.json
	@$(RUN) -m proofs.drift $(OPTIONS)

proof-deploy: install-test ## False rollbacks and planted harms of deployments by evidence, simulated, and on a real server with kills; an hour; OPTIONS='--healthy 500 --people 50 --served 2' less; writes build/proof/deploy.json
	@$(RUN) -m proofs.deploy $(OPTIONS)

proof-erasure: install-test ## Planted people and documents, kills and tampered releases; ten minutes; writes build/proof/erasure.json
	@$(RUN) -m proofs.erasure

proof-features: install-test ## Parity, planted differences and futures, kills of features, on both kinds of stores; five minutes; OPTIONS='--kills 2'; writes build/proof/features.json
	@$(RUN) -m proofs.features $(OPTIONS)

# dbt's libraries exclude Feast's, so it has an environment of its own, which one test uses.
build/dbt/bin/dbt: .venv/bin/uv
	@.venv/bin/uv venv --quiet --clear --python .venv/bin/python build/dbt
	@.venv/bin/uv pip install --quiet --python build/dbt/bin/python --compile-bytecode dbt-core==1.11.16 dbt-duckdb==1.11.1

bench-experiments: install-test ## Analyze 50 million events beside pandas; writes build/bench/experiments.json
	@$(RUN) -m benches.experiments

# Installs nothing: the tests' extras have faiss-cpu, which excludes faiss-gpu, and a CPU build of torch.
proof-gpu: ## Encoders and index on a GPU against the CPU, by PYTHON (else .venv's), at most 8 minutes, no network; OPTIONS='--model FOLDER --source FILE'; writes build/proof/gpu.json
	@$(or $(PYTHON),$(RUN)) -m proofs.gpu $(OPTIONS)

figures: install-test ## Make the tables of figures in README and docs from docs/figures
	@$(RUN) -m proofs.pages

images: ## Build the images with Docker: TARGETS='serve steps' (docs/images.md)
	@images/build.sh $(TARGETS)

scan: install-test ## SBOM, withdrawn packages, lacking fixes and known vulnerabilities of the built images
	@images/scan.sh $(TARGETS)

stack-up: ## Make secrets, start the whole stack with Compose and wait until it is healthy
	@images/stack/secrets.sh && $(COMPOSE) up --detach --wait

stack-down: ## Stop the stack; its volumes stay
	@$(COMPOSE) down

# Only uv is needed here: what pyproject.toml asks for may not be installable before its pins are resolved.
.venv/bin/uv:
	@demo/install.sh $(ALL)

constraints: .venv/bin/uv ## Resolve constraints.txt anew for Python 3.11 to 3.13
	@mkdir -p build && sed -e '/^gpu = /d' -e '/^\[tool.uv\]/,/^$$/d' pyproject.toml > build/pyproject.toml && \
		.venv/bin/uv pip compile -q build/pyproject.toml --all-extras --universal --python-version 3.11 --no-header --no-annotate -o constraints.txt

clean: down ## Remove everything that was made here: .venv, .ratchet, build
	@rm -rf .venv .ratchet build
