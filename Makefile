# demo · flood · test · lint · bench: what the README's commands call.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo flood test lint bench api setup clean

demo: $(VENV)/.installed
	@$(BIN)/python examples/demo.py

# a SYN flood and an honest client, without and with the filter; needs root
flood: $(VENV)/.installed
	@$(BIN)/python -m examples.flood --out out

test: $(VENV)/.installed
	@$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks --write out

# writes down what packages export and what is supported, when a change of it is meant
api: $(VENV)/.installed
	@$(BIN)/python -m tests.architecture.test_structure
	@$(BIN)/python -m tests.xdp.cli.test_feature

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml .ci/system-packages
	@sh .ci/system-packages
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing xdpsim and its tools into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[pcap]' || \
		echo "pypcap could not be built (libpcap-dev, python3-dev): the libpcap backend is not there"
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
