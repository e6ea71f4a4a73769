# Needs Python 3.11 to 3.13, git and make; everything else is installed into .venv.
# The first that fits; `make PYTHON=...` names another. Each is run, for a shim may stand where no Python is.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := python3.11 python3.12 python3.13 python3
PYTHON ?= $(shell for name in $(CANDIDATES); do "$$name" -c "$(FITS)" 2> /dev/null && { echo "$$name"; break; }; done)
BIN := .venv/bin
JOBS ?= 2

.PHONY: demo test test-all browser torch lint checks docs dist docker-test locks setup clean

setup: .venv/.installed

# The stamp is written last: an installation that was interrupted is done again.
.venv/.installed: pyproject.toml constraints-cpu.txt
	@"$(PYTHON)" -c "$(FITS)" 2> /dev/null || { echo "error: $(or $(PYTHON),none of $(CANDIDATES)) is no Python 3.11 to\
 3.13; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear .venv
	$(BIN)/python -m pip install --quiet "uv>=0.5"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --overrides constraints-cpu.txt \
		-e '.[dev]' 'tensorflow-cpu>=2.19; sys_platform == "linux" and platform_machine == "x86_64"'
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Chromium, for the tests of pages; without it they are skipped.
browser:
	@tests/browser.sh

# The browser comes while the packages do.
checks:
	@$(MAKE) --no-print-directory -j 2 browser lint

# worksteal: tests of one file, which share what is dear to make, mostly stay in one process.
test: checks
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

# PyTorch, in its small build for CPUs, for the tests that need it; without it they are skipped.
torch: setup
	@$(BIN)/python -m pip install --quiet --index-url https://download.pytorch.org/whl/cpu 'torch==2.13.0' 2> /dev/null \
		|| echo 'torch: it could not be installed; the tests that need it are skipped' >&2

test-all: checks torch
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# The whole way on the demo's people: a data set, a page about it, and two epochs of a small network.
demo: setup
	$(BIN)/facepipe demo
	$(BIN)/facepipe report --data demo-data
	$(BIN)/python -m train autoencoder --data demo-data -o demo-data/runs/first --overwrite \
		--preset frontal-1 --epochs 2 --steps-per-epoch 50
	@echo "demo: look at demo-data/report.html and at demo-data/runs/first/summary.html"

# Strict: a broken link or a page left out is an error. Needs no network.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "docs: open site/index.html"

# The source distribution, the wheel built from it, and the demo in an empty environment with that wheel.
dist: setup
	rm -rf dist build/wheel
	$(BIN)/uv build --quiet
	$(BIN)/python -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet dist/*.whl
	build/wheel/bin/facepipe demo -o build/wheel/demo-data --identities 12
	@ls -l dist

# Both images, built and tried with docker, podman, or the tool that IMAGE_TOOL names.
docker-test:
	docker/test.sh

locks: setup
	docker/locks.sh

clean:
	rm -rf .venv demo-data dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
