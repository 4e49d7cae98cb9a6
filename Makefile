# make quickstart   five methods on real data, from nothing to a table
# make test         lint, types and tests, those of the library on JAX, too, and on torch
# make with-torch   installs torch for these; it may bring gigabytes of CUDA
# make test-long    the tests that take minutes each
# make docs         the site, into site/
# make mutants      whether tests notice changes of the code: half an hour for a sample;
#                   `make mutants SAMPLE=9999` tries all, which takes hours
PYTHON ?= python3
VENV ?= .venv
ON_EVERY_BACKEND = $(VENV)/bin/python -m pytest tests/library -n 2 -m every_backend
SAMPLE ?= 40

quickstart: $(VENV)/installed
	$(VENV)/bin/python -m dlth_tf.train --flagfile=configs/quickstart.flags

test: $(VENV)/installed-for-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(ON_EVERY_BACKEND)
	@if $(VENV)/bin/python -c 'import torch' 2>/dev/null; then \
	  export KERAS_BACKEND=torch OMP_NUM_THREADS=1; $(ON_EVERY_BACKEND); \
	else echo "Skipped: the library's tests on torch. To have it: make with-torch"; fi

with-torch: $(VENV)/installed-for-tests
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(VENV)/bin/python -c 'import torch'

test-long: $(VENV)/installed-for-tests
	$(VENV)/bin/python -m pytest -m long

docs: $(VENV)/installed-for-docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet

mutants: $(VENV)/installed-for-tests
	$(VENV)/bin/python -m tests.mutants --sample=$(SAMPLE)

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "Setting up $(VENV), once: about a minute and 3 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-for-tests: $(VENV)/installed tests/requirements.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

$(VENV)/installed-for-docs: $(VENV)/installed docs/requirements.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

.PHONY: quickstart test with-torch test-long docs mutants
