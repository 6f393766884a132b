# Two commands for a newcomer: `make demo` and `make test`. Both make their own environment.
PYTHON ?= python3
PIP_FLAGS ?= --quiet --disable-pip-version-check
# Half the time on two cores; `make test PYTEST_FLAGS=` runs the tests one after another.
PYTEST_FLAGS ?= --numprocesses auto --maxprocesses 4 --dist loadfile
DEMO := .venv/demo
TEST := .venv/test
AUDIT := .venv/audit
LOWEST := .venv/lowest
FAISS_GPU := .venv/faiss-gpu

.PHONY: demo test page page-check check format bench audit lowest faiss-gpu clean

demo: $(DEMO)/ready
	$(DEMO)/bin/python examples/demo.py

test: $(TEST)/ready
	$(TEST)/bin/python -m pytest $(PYTEST_FLAGS)

# The page of `virtue serve`, built from web/; page-check compares what is built with what is committed.
page: $(TEST)/ready
	$(TEST)/bin/python -m tools.page

page-check: $(TEST)/ready
	$(TEST)/bin/python -m tools.page --check

check: $(TEST)/ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

format: $(TEST)/ready
	$(TEST)/bin/ruff check --fix .
	$(TEST)/bin/ruff format .

bench: $(TEST)/ready
	$(TEST)/bin/python -m benchmarks.indexing
	$(TEST)/bin/python -m benchmarks.cold_search
	$(TEST)/bin/python -m benchmarks.unchanged
	$(TEST)/bin/python -m benchmarks.kill
	$(TEST)/bin/python -m benchmarks.bad_files

# Not part of CI, which must not fail for the network. The tools are kept apart from what they look at.
audit:
	$(PYTHON) -m venv --clear $(AUDIT)/tools
	$(PYTHON) -m venv --clear $(AUDIT)/installed
	$(AUDIT)/tools/bin/python -m pip install $(PIP_FLAGS) pip-audit pip-licenses
	$(AUDIT)/tools/bin/python -m tools.audit $(AUDIT)/installed/bin/python

# The oldest versions that pyproject.toml allows, as wheels, with all tests. Several GB: PyPI's torch brings CUDA.
lowest:
	$(PYTHON) -m venv --clear $(LOWEST)/tools
	$(LOWEST)/tools/bin/python -m pip install $(PIP_FLAGS) uv
	$(LOWEST)/tools/bin/uv venv -q --clear --python $(PYTHON) $(LOWEST)/installed
	$(LOWEST)/tools/bin/uv pip compile -q --resolution lowest-direct --python $(LOWEST)/installed/bin/python \
	  --extra test --extra serve pyproject.toml -o $(LOWEST)/requirements.txt
	VIRTUAL_ENV=$(LOWEST)/installed $(LOWEST)/tools/bin/uv pip install -q --only-binary :all: -r $(LOWEST)/requirements.txt
	VIRTUAL_ENV=$(LOWEST)/installed $(LOWEST)/tools/bin/uv pip install -q --no-deps --editable .
	$(LOWEST)/installed/bin/python -m pytest $(PYTEST_FLAGS)

# FAISS's GPU build in the place of faiss-cpu, with the store's tests. Needs no card: it then finds none, and the
# processor is used. More than 1 GB: the wheel brings CUDA's libraries.
faiss-gpu:
	$(PYTHON) -m venv --clear $(FAISS_GPU)
	$(FAISS_GPU)/bin/python -m pip install $(PIP_FLAGS) torch==2.13.0
	$(FAISS_GPU)/bin/python -m pip install $(PIP_FLAGS) --editable '.[test]'
	$(FAISS_GPU)/bin/python -m pip uninstall $(PIP_FLAGS) -y faiss-cpu
	$(FAISS_GPU)/bin/python -m pip install $(PIP_FLAGS) 'faiss-gpu==1.15.1'
	$(FAISS_GPU)/bin/python -c 'import faiss; assert hasattr(faiss, "StandardGpuResources"), faiss.__file__'
	$(FAISS_GPU)/bin/python -m pytest tests/store

# A real install of the built package, as a user gets it.
$(DEMO)/ready: pyproject.toml $(shell find virtue -name '*.py' -o -path '*/service/page/*' -type f)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "virtue needs Python 3.11 or newer: make PYTHON=python3.12 demo" >&2; exit 1; }
	@echo "installing virtue into $(DEMO), which takes a minute or two"
	test -d $(DEMO) || $(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install $(PIP_FLAGS) --upgrade --force-reinstall --no-deps .
	$(DEMO)/bin/python -m pip install $(PIP_FLAGS) '.[serve]'
	touch $@

# torch by its exact version: a range may draw several gigabytes of CUDA libraries where a CPU build is at hand.
$(TEST)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "virtue needs Python 3.11 or newer: make PYTHON=python3.12 test" >&2; exit 1; }
	test -d $(TEST) || $(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python -m pip install $(PIP_FLAGS) torch==2.13.0
	$(TEST)/bin/python -m pip install $(PIP_FLAGS) --editable '.[test]'
	touch $@

clean:
	rm -rf .venv demo.virtue demo.html
