# make quickstart   five methods on real data, from nothing to a table
# make test         lint and tests
# make test-long    the tests that take minutes each
# make mutants      whether tests notice changes of the code: half an hour for a sample;
#                   `make mutants SAMPLE=9999` tries all, which takes hours
PYTHON ?= python3
VENV ?= .venv
SAMPLE ?= 40

quickstart: $(VENV)/installed
	$(VENV)/bin/python -m dlth_tf.train --flagfile=configs/quickstart.flags

test: $(VENV)/installed-for-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-long: $(VENV)/installed-for-tests
	$(VENV)/bin/python -m pytest -m long

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

.PHONY: quickstart test test-long mutants
