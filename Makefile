.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up

.PHONY: help demo test check bench model model-operator model-base model-quick clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(SET_UP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip -c constraints.txt
	# torch comes first and alone: an unpinned one would bring gigabytes of CUDA along.
	$(BIN)/pip install --quiet torch==2.13.0 -c constraints.txt
	$(BIN)/pip install --quiet -e '.[dev]' -c constraints.txt
	# A short run compiles the kernels once; numba keeps them beside the modules.
	$(BIN)/edgewright run --seeds 1 --intervals 2 --planner optimiser --no-report --json >/dev/null
	touch $@

demo: $(SET_UP) ## Run the closed loop with the embedded model and compare planners
	$(BIN)/edgewright run --scenario smart-city --seed 7 --out reports/demo

test: $(SET_UP) ## Run the tests
	$(BIN)/pytest -q -n 2 -m "not slow"

check: $(SET_UP) ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Those that need no peer and no hours; the others' heads say how they are run. Some end with status 1 where a figure is short.
BENCHMARKS := simulator validation log_templates anomalies digests sfl_memory sfl_time sfl_schedule operator_language \
	policy_model prompt_ceiling chat control_plane

bench: $(SET_UP) ## Print the benchmarks' figures
	@short=; for name in $(BENCHMARKS); do \
		echo "== $$name"; OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py --json || short="$$short $$name"; \
	done; test -z "$$short" || { echo "short of a figure, or failed:$$short"; exit 1; }

# Corpora are made on seeds of their own; the adapter is what the six sites learned together.
SITES := --scenario smart-city --scenario intelligent-transport --scenario industrial-iot --scenario smart-home \
	--scenario ehealth --scenario space-air-ground-sea
MODEL_WORK := .edgewright/model-5
TUNE = $(BIN)/edgewright finetune --model agent/weights/policy-base --corpus $(MODEL_WORK)/corpus --scheme lean --u-shape \
	--rank 32 --local-steps 6
model: $(SET_UP) ## Rebuild all embedded weights: twin, operator, base and policy (hours, resumable)
	$(BIN)/edgewright pretrain --task twin --threads 2 --out agent/weights/twin
	# Each learns with one thread; side by side they take both cores.
	$(MAKE) --no-print-directory -j 2 model-operator model-base
	test -f $(MODEL_WORK)/corpus/space-air-ground-sea.jsonl || $(BIN)/edgewright corpus $(SITES) --runs 12 --variants 3 \
		--rehearsed 2000 --out $(MODEL_WORK)/corpus
	$(TUNE) --rounds 40 --out $(MODEL_WORK)/adapter-1 $(if $(wildcard $(MODEL_WORK)/adapter-1/run/checkpoints),--resume)
	$(TUNE) --rounds 30 --seed 1 --start-from $(MODEL_WORK)/adapter-1 --out $(MODEL_WORK)/adapter \
		$(if $(wildcard $(MODEL_WORK)/adapter/run/checkpoints),--resume)
	$(BIN)/edgewright merge --model agent/weights/policy-base --adapter $(MODEL_WORK)/adapter \
		--out agent/weights/policy --overwrite

model-operator: $(SET_UP)
	$(BIN)/edgewright pretrain --task operator --out agent/weights/operator --work $(MODEL_WORK)/pretrain

model-base: $(SET_UP)
	$(BIN)/edgewright pretrain --out agent/weights/policy-base --work $(MODEL_WORK)/pretrain

model-quick: QUICK := .edgewright/quick
model-quick: $(SET_UP) ## The same chain in minutes, to a lower figure
	$(BIN)/edgewright pretrain --task twin --quick --out $(QUICK)/twin
	$(BIN)/edgewright pretrain --quick --threads 2 --out $(QUICK)/base --work $(QUICK)/work
	$(BIN)/edgewright corpus --scenario smart-home --scenario ehealth --runs 1 --intervals 10 --out $(QUICK)/corpus
	$(BIN)/edgewright finetune --model $(QUICK)/base --corpus $(QUICK)/corpus --scheme lean --u-shape --rounds 5 \
		--out $(QUICK)/adapter --overwrite
	$(BIN)/edgewright merge --model $(QUICK)/base --adapter $(QUICK)/adapter --out $(QUICK)/policy --overwrite

clean: ## Remove what runs leave behind
	find agent edge_preprocess telemetry_sim -name '*.nb[ic]' -delete
	rm -rf reports runs .edgewright .pytest_cache .mypy_cache .ruff_cache .hypothesis
