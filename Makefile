# Every target sets up what it needs: a virtual environment in .venv, made once and again when pyproject.toml changes.
VENV ?= .venv
PYTHON ?= python3
DEVICE ?= cpu
SECONDS ?= 600
FUZZ_TARGETS ?= cases configuration thresholds baseline noise jsonl csv labels
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help cases report lint-cases test lint types security docs fuzz-images reference pictures screenshots check bench bench-large bench-tiles bench-profiles embedded-bench bench-page load-test matrix gate-simulation kill-test store-test fuzz clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

cases: $(STAMP)  ## Score the repository's own edit cases with the embedded profile (offline)
	$(BIN)/python -m pytest cases/ $(ARGS)

report: $(STAMP)  ## The same run, with its page: report.html
	$(BIN)/python -m pytest cases/ --editeval-config cases/gates.yaml --editeval-report report.html $(ARGS)

lint-cases: $(STAMP)  ## Find thresholds of those cases that catch nothing
	$(BIN)/editeval lint cases --ignore nothing-done $(ARGS)

test: $(STAMP)  ## Run the test suite
	$(BIN)/python -m pytest -n 2 tests/ $(ARGS)

lint: $(STAMP)  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Check types strictly
	$(BIN)/mypy

security: $(STAMP)  ## Look for insecure code (bandit) and vulnerable packages (pip-audit, where it reaches its data)
	$(BIN)/python -m bandit --quiet --configfile pyproject.toml --recursive pytest_editeval
	$(BIN)/python .ci/audit.py

docs: $(STAMP)  ## Build the documentation in docs/_build/html (no network; a warning is an error)
	$(BIN)/python -m sphinx -W --keep-going -n -q docs docs/_build/html

fuzz-images: $(STAMP)  ## Damage image files in 100,000 ways (20 minutes)
	EDITEVAL_FUZZ_EXAMPLES=100000 $(BIN)/python -m pytest tests/test_damaged_images.py -k damage_gives --hypothesis-show-statistics $(ARGS)

reference: $(STAMP)  ## Write the pages and outputs of docs/ that follow from the code
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/run_examples.py

pictures: $(STAMP)  ## Draw docs/pictures from the repository's cases
	$(BIN)/python docs/make_pictures.py

screenshots: $(STAMP)  ## Take the pictures of the page and of the terminal in docs/pictures (needs Chromium)
	$(BIN)/python docs/make_screenshots.py

check: lint types security test cases report lint-cases docs  ## Everything that .ci/run runs

bench: $(STAMP)  ## Speed and memory as ratios (DEVICE=cuda for a GPU); the last figures are in benchmarks/results.md
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/collection.py
	$(BIN)/python benchmarks/scoring.py --device $(DEVICE)
	$(BIN)/python benchmarks/warm.py --device $(DEVICE)
	$(BIN)/python benchmarks/growth.py --device $(DEVICE)

bench-large: $(STAMP)  ## The same on networks of published sizes, and on 100,000 cases
	$(BIN)/python benchmarks/scoring.py --device $(DEVICE) --profile base --repeat 1
	$(BIN)/python benchmarks/warm.py --device $(DEVICE) --profile base --sources 5 --colds 1
	$(BIN)/python benchmarks/collection.py --repeat 1 --large 100000

embedded-bench: $(STAMP)  ## How good the embedded checkpoints are, beside two floors (needs Debian packages: training/README.md)
	$(BIN)/python -m pip install --quiet --editable ".[train]"
	test -f build/training/cutouts.npy || $(BIN)/python training/data.py
	$(BIN)/python training/bench.py $(ARGS)

bench-tiles: $(STAMP)  ## Time and peak memory of a large image in windows (ARGS="--side 10000 --network wide")
	$(BIN)/python benchmarks/large.py $(ARGS)

bench-profiles: $(STAMP)  ## Time and peak memory of the ready profiles, with random weights of the published sizes
	$(BIN)/python benchmarks/ready.py $(ARGS)

bench-page: $(STAMP)  ## The page of 2,000 checks: its size, and how it opens and filters (needs Chromium)
	$(BIN)/python benchmarks/page.py $(ARGS)

load-test: $(STAMP)  ## 20,000 checks over 2,000 images in one session: memory, and whether every sum is right
	$(BIN)/python benchmarks/load.py $(ARGS)

matrix:  ## The tests on the lowest and the newest dependencies, on every Python at hand (about 15 minutes each)
	$(PYTHON) -m venv $(VENV)-nox
	$(VENV)-nox/bin/python -m pip install --quiet nox uv
	$(VENV)-nox/bin/nox $(ARGS)

gate-simulation: $(STAMP)  ## How often a comparing gate alarms in vain, and how often it sees an effect
	$(BIN)/python benchmarks/gate_simulation.py $(ARGS)

kill-test: $(STAMP)  ## Kill runs at 50 random moments, and look at what is left (ARGS="--seed N --times N")
	PYTHONPATH=tests $(BIN)/python tests/killing.py $(ARGS)

store-test: $(STAMP)  ## Eight processes at one store for a minute (ARGS="--processes N --seconds N --seed N")
	PYTHONPATH=tests $(BIN)/python tests/hammering.py $(ARGS)

fuzz: $(STAMP)  ## Files of 10 MB, more examples, and 10 minutes of coverage-guided fuzzing per reader (SECONDS=600)
	EDITEVAL_HOSTILE_BYTES=10000000 $(BIN)/python -m pytest --hypothesis-profile=fuzz tests/test_hostile_files.py $(ARGS)
	$(BIN)/python -m pip install --quiet --editable '.[dev,fuzz]'
	for target in $(FUZZ_TARGETS); do PYTHONPATH=tests $(BIN)/python tests/fuzzing/coverage_guided.py $$target $(SECONDS) || exit 1; done

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build .nox $(VENV)-nox
