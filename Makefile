# make run, make test: all the set-up is done here; needs Python 3.9 or later with its venv module, and a package index pip can reach.
# Another Python: make PYTHON=python3.9 test

PYTHON = python3
VENV = .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN = $(VENV)/bin
CHECKS = check_free_mem check_slab_growth check_proc_count check_oom_kill check_mem_pressure check_mem_recorder
SOURCES := $(shell find bin lib checks -name '*.py' -o -path 'bin/check_*')
METADATA = setup.cfg pyproject.toml
FUZZ = 200000
SELECT = not slow

help:  ## these words
	@sed -n 's/^\([a-z-]*\):.*## /make \1: /p' Makefile

run: $(VENV)/installed  ## the checks on this very host, with what each leaves with
	@for check in $(CHECKS); do \
	    echo "\$$ $(BIN)/$$check"; \
	    MEMTRIAGE_STATE_DIR="$(CURDIR)/$(VENV)/state" $(BIN)/$$check; \
	    echo "exit code $$?"; \
	    echo; \
	done

test: $(VENV)/installed  ## the test suite, on the installed commands and on this checkout; e.g. ARGS="-k slab"
	COLUMNS=200 $(BIN)/python -m pytest -rs -m "$(SELECT)" $(ARGS)

test-slow: $(VENV)/installed  ## the tests that take their time: live leaks of every kind, the recorder under load, servers
	COLUMNS=200 $(BIN)/python -m pytest -rs -m slow $(ARGS)

lint: $(VENV)/installed $(VENV)/linters  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff check --stdin-filename bin.py - < bin/check_free_mem
	@# what sh reads of them; the rest is Python
	for file in bin/check_free_mem checks/check_*.py; do sed '/^exec /q' $$file | sh -n || exit; done
	bash -n .ci/run
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(BIN)/python docs/help.py --check

bench: $(VENV)/installed  ## what a check costs
	@for file in checks state growth; do PYTHONPATH=. $(BIN)/python tests/bench/bench_$$file.py || exit; done

bench-detection: $(VENV)/installed  ## how well leaks are told from what is none, beside the rules people use
	PYTHONPATH=. $(BIN)/python tests/bench/bench_detection.py

bench-fleet: $(VENV)/installed  ## what a fleet costs: memtriage fleet, and a real Icinga 2 by result; 10 minutes; needs icinga2
	PYTHONPATH=. $(BIN)/python tests/bench/bench_fleet.py $(ARGS)

fuzz: $(VENV)/installed  ## bent kernel files, FUZZ=200000 of them
	$(BIN)/python tests/procfs/fuzz.py $(FUZZ)

torture: $(VENV)/installed  ## the recorder killed 1,000 times, its file bent 1,000 times; 10 minutes
	$(BIN)/python tests/recording/torture.py 1000
	$(BIN)/python tests/recording/images.py 1000

test-guest: $(VENV)/installed  ## hosts that really run out of memory, in a virtual machine (docs/proof.md); an hour, with ARGS='--jobs 2' half; needs QEMU
	$(BIN)/python tests/guest/evidence.py
	$(BIN)/python tests/guest/proof.py $(ARGS)

test-guest-short: $(VENV)/installed  ## three of them, ten minutes
	$(BIN)/python tests/guest/evidence.py
	$(BIN)/python tests/guest/proof.py --short $(ARGS)

test-guest-recorder: $(VENV)/installed  ## the recorder and its peers in a virtual machine that thrashes; an hour
	$(BIN)/python tests/guest/recorder.py $(ARGS)

story: $(VENV)/installed  ## docs/story.md anew: its night played in a virtual machine and kept; half an hour; needs QEMU
	$(BIN)/python tests/guest/story.py $(ARGS)

docs: $(VENV)/installed  ## each check's --help into its page
	$(BIN)/python docs/help.py

contract: $(VENV)/installed  ## tests/contract.txt anew: what users script against; a change belongs into CHANGELOG.md
	PYTHONPATH=lib $(BIN)/python -m tests.contract --write

compile:  ## bytecode for a checkout that the checks' user cannot write to; without it each run compiles anew
	$(PYTHON) -m compileall -q lib/memtriage checks

dist: $(VENV)/dependencies  ## wheel and sdist
	rm -rf build dist
	$(BIN)/python -m build --no-isolation

deb:  ## Debian's package into dist/, by its own tools and Python: docs/install.md
	packaging/build-deb.sh dist

rpm:  ## the package of EL 9 and later into dist/
	packaging/build-rpm.sh dist

clean:  ## back to what git knows
	rm -rf .venv .venv-* build dist lib/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find bin lib checks tests -name __pycache__ -prune -exec rm -r {} +

$(VENV)/dependencies: $(METADATA)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9) and "memtriage needs Python 3.9 or later")'
	$(PYTHON) -m venv $(VENV)
	echo '*' > $(VENV)/.gitignore
	$(BIN)/python -m pip install --quiet '.[test]'
	rm -rf build
	touch $@

# build/ must go: setuptools would ship what an earlier build left there.
$(VENV)/installed: $(VENV)/dependencies $(SOURCES)
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	rm -rf build
	touch $@

$(VENV)/linters: $(VENV)/dependencies
	$(BIN)/python -m pip install --quiet '.[lint]'
	rm -rf build
	touch $@

.PHONY: help run test test-slow lint bench bench-detection bench-fleet fuzz torture test-guest test-guest-short test-guest-recorder story contract \
	docs compile dist deb rpm clean
