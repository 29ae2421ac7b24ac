# make app | test | train | evaluate | bench | check | release-check; ARGS are passed on: make train ARGS="--recipe quick"
PYTHON ?= python3
VENV := .venv
BIN := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts,$(VENV)/bin)
export GRADIO_ANALYTICS_ENABLED := False

app: $(VENV)/.app
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

train: $(VENV)/.app
	$(BIN)/python train.py $(ARGS)

evaluate: $(VENV)/.app
	$(BIN)/python evaluate.py $(ARGS)

bench: $(VENV)/.app
	for each in serving start bulk training; do $(BIN)/python bench/$$each.py $(ARGS) || worse=1; done; exit $${worse:-0}

check: $(VENV)/.dev
	$(BIN)/ruff check .

release-check: $(VENV)/.dev
	$(BIN)/python scripts/release_check.py

# the stamp files say which requirements the environment holds
$(VENV)/.app: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("DigitVision needs Python 3.10 or newer: make PYTHON=python3.12 app" if sys.version_info < (3, 10) else 0)'
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.app
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.PHONY: app test train evaluate bench check release-check
