# `make demo` and `make test` do all the set-up on a machine with Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow lint format pin clean

demo: .venv/.installed
	$(BIN)/python scripts/train_image_level.py

test: .venv/.installed lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q

slow: .venv/.installed
	$(BIN)/pytest -q -m slow

lint: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Renew constraints.txt from what is installed now; look at the difference before committing it.
pin: .venv/.installed
	$(BIN)/pip freeze --exclude-editable > constraints.txt

# The stamp keeps a second call from installing anything; it is remade when the requirements change.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[weights,dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build *.egg-info
