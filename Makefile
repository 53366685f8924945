# Two commands matter: `make reproduce` and `make test`. Both do their own set-up; a second run installs nothing.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup reproduce test test-scale lab book resolve verify fuzz audit doctor gpu-check clean

PROFILE ?= laptop
PY := .venv/bin/python
# Every package but torch must have the SHA-256 that is locked; HASHES= leaves that out, for builds of your own.
HASHES ?= yes
# Read by the shell from its environment, not pasted into the command: any path survives, with spaces or Chinese characters.
export PROFILE DATA RUN_DIR BASE_MODEL

# The stamp is written last, so a half-finished installation is none; another lock file or another folder installs again.
VERSIONS := $(shell { cat requirements.lock requirements.hashes.lock pyproject.toml; pwd; } | cksum | cut -d ' ' -f 1)
STAMP := .venv/.installed-$(VERSIONS)

help: ## Show this help
	@echo "usage: make <target> [PROFILE=smoke|class|laptop|gpu|paper] [DATA=file or folder] [RUN_DIR=folder] [BASE_MODEL=folder or hub id] [ARGS='--from 03']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

# $(call venv,FOLDER): a fresh environment there, by the first Python that will do; what was half installed is cleared.
define venv
set -eo pipefail; PATH="$${PATH//$$PWD\/.venv\/bin:/}"; \
for python in python3.11 python3.12 python3.13 python3 python; do \
  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then found="$$python"; break; fi; \
done; \
if [ -z "$${found:-}" ]; then \
  echo "error: no Python 3.11, 3.12 or 3.13 found; install one (apt install python3.11 python3.11-venv, brew install python@3.12, or pyenv install 3.12)," \
       "or use conda: conda env create -f environment.yml" >&2; exit 2; \
fi; \
if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
  echo "error: $$found lacks the venv module; install it, e.g.: apt install $$(basename "$$found")-venv" >&2; exit 2; \
fi; \
clear=""; if [ -e $(1)/.installing ]; then clear=--clear; fi; \
"$$found" -m venv $$clear $(1); \
touch $(1)/.installing; rm -f $(1)/.installed-*
endef

setup: $(STAMP) ## Create .venv with Python 3.11 to 3.13 and install the locked versions (PIP_ARGS='…' for pip)

$(STAMP):
	@$(call venv,.venv); \
	echo "installing the locked packages into .venv (some minutes the first time)"; \
	$(PY) -m pip install --quiet $(PIP_ARGS) -c requirements.lock $$(grep '^torch==' requirements.lock); \
	$(PY) -m pip install --quiet $(PIP_ARGS) $(if $(HASHES),--require-hashes --no-deps -r requirements.hashes.lock,-r requirements.lock); \
	$(PY) -m pip install --quiet $(PIP_ARGS) --no-deps -e .; \
	rm .venv/.installing; touch $@

reproduce: setup ## Run the six notebooks under PROFILE (default: laptop); the same command again resumes
	@$(PY) -m empathy_lib reproduce --profile "$$PROFILE" $${DATA:+--data "$$DATA"} $${RUN_DIR:+--run-dir "$$RUN_DIR"} \
	  $${BASE_MODEL:+--base-model "$$BASE_MODEL"} $(ARGS)

# The notebooks run twice: through papermill, from nothing into an awkward path, then cell by cell under nbval, which finds the stages
# built and compares the marked outputs; the exercises' solutions run between the two. The first run reaches no network. Unit tests share the cores, a file each, as do solutions and notebooks.
test: setup ## Lint, unit tests, the notebooks through papermill and under nbval (smoke profile)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -c 'from importlinter.cli import lint_imports_command as run; run()' --no-cache
	@set -eo pipefail; scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT; set -x; \
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder tests/unit \
	  | tee "$$scratch/unit.log"; \
	export EMPATHY_RUNS="$$scratch/空格 与中文"; \
	PYTHONPATH="$$PWD/tests/no_network" $(PY) -m empathy_lib reproduce --profile smoke; \
	$(PY) tests/check_run.py "$$EMPATHY_RUNS/smoke"; \
	mkdir -p "$$scratch/notebooks/solutions"; \
	ls notebooks/solutions/0*.ipynb | xargs -P 2 -I @ $(PY) -m papermill --no-progress-bar @ "$$scratch/@" \
	  -p profile smoke -p run_dir "$$EMPATHY_RUNS/smoke"; \
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --nbval-lax --nbval-kernel-name python3 \
	  --nbval-cell-timeout 1200 --nbval-kernel-startup-timeout 180 notebooks/0*.ipynb | tee "$$scratch/notebooks.log"; \
	set +x; \
	tail -n 1 "$$scratch/unit.log"; tail -n 1 "$$scratch/notebooks.log"

# Part of `make test` too; alone it says in some five minutes whether several processes train as one does.
test-scale: setup ## Tests of several processes, sharding, vLLM's client, clusters, shards of data, float16
	@$(PY) -m pytest tests/unit/models/test_processes.py tests/unit/models/test_processes_grpo.py \
	  tests/unit/models/test_fsdp.py tests/unit/models/test_cluster.py tests/unit/models/test_training.py \
	  tests/unit/models/test_qlora.py tests/unit/grpo/test_vllm.py tests/unit/dataset/test_trove.py

lab: setup ## Open the notebooks in JupyterLab, the shipped ones trusted
	@$(PY) -c 'from nbformat.sign import TrustNotebookApp as trust; trust.launch_instance()' \
	  notebooks/*.ipynb notebooks/solutions/*.ipynb notebooks/executed/*/*.ipynb
	$(PY) -m jupyterlab notebooks

# An environment of its own: the extra [book] alone, without torch; the lock pins what both need.
BOOK_STAMP := .venv-book/.installed-$(VERSIONS)

$(BOOK_STAMP):
	@$(call venv,.venv-book); \
	echo "installing Sphinx into .venv-book (a minute the first time)"; \
	.venv-book/bin/python -c 'import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
	  print(*extras["book"], sep="\n")' > .venv-book/requirements.txt; \
	.venv-book/bin/python -m pip install --quiet $(PIP_ARGS) -r .venv-book/requirements.txt -c requirements.lock; \
	rm .venv-book/.installing; touch $@

# Every warning, such as a link to nowhere, is an error; the old site is replaced by a whole one only.
book: $(BOOK_STAMP) ## Render README, executed notebooks and docs into site/, links checked; executes nothing
	@set -e; rm -rf .venv-book/build; \
	.venv-book/bin/python -m sphinx -b html -q -E -W --keep-going -c book . .venv-book/build/site; \
	.venv-book/bin/python tests/check_site.py .venv-book/build/site; \
	rm -rf site; mv .venv-book/build/site site; echo "open site/index.html"

resolve: setup ## Is every locked package there for Python 3.11 to 3.13? Asks the package index, installs nothing
	@set -e; scratch="$$(mktemp -d)"; for version in 3.11 3.12 3.13; do \
	  $(PY) -m pip install --quiet --dry-run --ignore-installed --no-deps --target "$$scratch" \
	    --python-version $$version -r requirements.lock; \
	  echo "Python $$version: all there"; \
	done

# Three runs: the second repeats the first, the third has one thread. A table of what is the same goes into docs/repeat.md.
verify: setup ## Does smoke repeat? Three runs in fresh folders, every artefact and checked cell compared
	@set -eo pipefail; scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT; \
	for run in "2 first" "2 again" "1 single"; do set -- $$run; \
	  OMP_NUM_THREADS=$$1 $(PY) -m empathy_lib reproduce --profile smoke --run-dir "$$scratch/$$2"; \
	done; \
	$(PY) tests/verify.py "$$scratch/first" again="$$scratch/again" "one thread"="$$scratch/single" --page docs/repeat.md

# Minutes; a crash leaves its input in tests/fuzz_corpus/, which the unit tests replay. ARGS='--parser 100000 --rest 5000 --seed 2'
fuzz: setup ## A million broken inputs for the parser and the readers of data, scores and ratings (minutes)
	@$(PY) tests/fuzz.py $(ARGS)

AUDIT_STAMP := .venv-audit/.installed-7.5.0-2.10.1

$(AUDIT_STAMP):
	@$(call venv,.venv-audit); \
	.venv-audit/bin/python -m pip install --quiet $(PIP_ARGS) cyclonedx-bom==7.5.0 pip-audit==2.10.1; \
	rm .venv-audit/.installing; touch $@

# The tools' own environment is theirs alone, so that they are not among what they list.
audit: setup $(AUDIT_STAMP) ## Bill of materials and licences into docs/, then known vulnerabilities of the locked versions
	@set -e; scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT; \
	.venv-audit/bin/cyclonedx-py environment $(PY) --pyproject pyproject.toml --output-reproducible --of JSON -o "$$scratch/bom.json"; \
	$(PY) tests/audit.py "$$scratch/bom.json" docs/sbom.cdx.json docs/licences.md; \
	.venv-audit/bin/pip-audit --no-deps --disable-pip -r requirements.lock

doctor: setup ## Check this machine: each failed line says the remedy
	@$(PY) -m empathy_lib doctor

gpu-check: setup ## Have a card? Three steps of each stage on it, five minutes, one line of JSON
	@$(PY) tests/gpu_check.py

clean: ## Remove the environment and caches; runs/ stays, it may hold hours of work
	rm -rf .venv .venv-book .venv-audit site .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
