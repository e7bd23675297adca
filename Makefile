# One entry for every habit. `make run` and `make test` set the rest up by themselves.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.made

.PHONY: run setup test faults fuzz lint format bench stack stack-test screenshots lock clean

run: setup
	@$(PY) run.py serve --demo

setup: $(STAMP)

$(STAMP): locks/dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit(f"Almanac needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --clear --python $(PYTHON) $(VENV) && uv pip install --quiet --python $(PY) --require-hashes -r locks/dev.txt; \
	else \
	  $(PYTHON) -m venv --clear $(VENV) && $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt; \
	fi
	@touch $@

# Processes of tests, one more than CI has cores, since many tests wait. Each has its own mongod, and some build models.
TESTS_AT_ONCE ?= 3
# Where Python is told to keep no bytecode, every process would compile all that it imports, and pytest rewrite all tests.
test: export PYTHONDONTWRITEBYTECODE =
test: setup
	$(PY) -m pytest -n $(TESTS_AT_ONCE) --dist loadfile

# Kills and stops processes in the middle of jobs, RUNS times; SEED=... RUNS=1 repeats a run that failed.
RUNS ?= 100
faults: setup
	@TEST_RUNS=$(RUNS) $(if $(SEED),TEST_SEED=$(SEED)) $(PY) -m pytest tests/faults $(ARGS)

# Requests made from the OpenAPI document, EXAMPLES for each operation, with the administrator's key and with a user's.
EXAMPLES ?= 2000
fuzz: setup
	@TEST_EXAMPLES=$(EXAMPLES) $(PY) -m pytest tests/integration/test_schemathesis.py $(ARGS)
	@TEST_EXAMPLES=$(EXAMPLES) TEST_CALLER=user:eve $(PY) -m pytest tests/integration/test_schemathesis.py $(ARGS)

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@# Findings go to standard output; the other has a warning for each exception that is argued.
	$(VENV)/bin/bandit --quiet --configfile pyproject.toml --recursive api cli ml docker settings.py run.py 2>/dev/null

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# PART: serving, models (what builds choose), jobs, guards (keys and limits), dialects (other protocols) or hostile (model files that mean
# harm). ARGS: for example ARGS="--seconds 1 --runs 1".
PART ?= serving
bench: setup
	@$(PY) -m benchmarks.$(PART) $(ARGS)

# The compose stack; ARGS goes to `docker compose up`, for example ARGS="--scale api=2 --scale worker=2".
stack:
	@$(PYTHON) docker/stack.py up $(ARGS)

stack-test: setup
	@$(PY) -m tests.stack $(ARGS)

# Pictures of the pages under build/screenshots. ARGS="--docs" writes those of the docs too, "--only try,models" takes some.
screenshots: setup
	@$(PY) -m tests.screenshots $(ARGS)

# Writes the lock files anew from pyproject.toml; needs uv.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock:
	$(LOCK) --upgrade pyproject.toml -o locks/runtime.txt
	$(LOCK) --upgrade -c locks/runtime.txt --extra openvino --group embedded --group demo --group test --group clients --group browser --group lint --group bench pyproject.toml -o locks/dev.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
