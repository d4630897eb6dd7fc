# Three commands matter to a reader: `make site`, `make book` and `make test`. Each sets up what it needs in .venv first.
PYTHON ?= python3
SHELL := /bin/sh
BIN := .venv/bin
STAMP := .venv/.installed
# `make setup EXTRAS=book` leaves the test tools out; PIP_ARGS is handed to pip, see README.md for torch without CUDA.
EXTRAS ?= book,export,metrics,teach,test,train,video
PIP_ARGS ?=
# What the losses are compared with; their own requirements are here already, or not needed for that.
PEERS := lpips==0.1.4 DISTS-pytorch==0.1 piq==0.8.0 torchmetrics==1.9.0 lightning==2.6.6 lightning-utilities monai==1.6.1 kornia==0.9.0 kornia_rs==0.2.0 timm==1.0.31 open_clip_torch==3.3.0 ftfy regex wcwidth
CHAPTER ?= 1
SEED ?=
SUBMITTED ?=
SANDBOX ?=
GRADEBOOK ?=
PLATFORM ?=

.PHONY: help setup peers pdf slides book site lab test execute times bench wall clean lock lint slow fuzz portable notebooks assignments grade offline-kit

help:
	@echo "make site      set up, build the site from the stored, verified outputs: a minute, no chapter is run"
	@echo "make book      run every chapter (10 to 30 minutes), build the site from those runs; goes on where it stopped"
	@echo "make test      set up, check format and lint, run every test"
	@echo "make lab       open chapter 1 without its solutions in JupyterLab, in mine/ (make lab CHAPTER=3)"
	@echo "make assignments SEED=...   graded exercises for a class; see 'For a class' in README.md"
	@echo "make grade SUBMITTED=...    grade a folder of student/assignment/*.ipynb (SANDBOX=container, bubblewrap, ...)"
	@echo "make pdf       the book as build/pdf/pltutorial.pdf, printed by Chromium"
	@echo "make slides    a deck for each chapter in build/slides/, each one file that needs no network"
	@echo "make offline-kit            packages, book and notebooks in one folder, for a room without a network"
	@echo "make execute   run the chapters and refresh their stored outputs in place"
	@echo "make times     run the chapters and note only how long each took on this kind of processor"
	@echo "make bench     time the package: precisions, memory, start-up, a plain baseline"
	@echo "make peers     compare with lpips, DISTS-pytorch, piq, torchmetrics, MONAI, kornia and try timm, which it installs"
	@echo "make wall      make the large pictures of the front page and chapter 4"
	@echo "make lint      let ruff format and repair what it can"
	@echo "make lock      resolve the requirements of pyproject.toml anew into requirements.lock"
	@echo "make slow      check two chapters as a processor without bfloat16 computes them"
	@echo "make fuzz      thousands of hostile inputs over all commands, 18 minutes on 2 cores; not as root"
	@echo "make portable  check the stored outputs as another processor would compute them (before a release)"
	@echo "make clean     remove build/ and caches; .venv stays"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "error: Python %d.%d was found and 3.11 or newer is needed; name one with: make PYTHON=python3.11" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: this Python cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv: some minutes the first time, PyTorch is large"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint requirements.lock --editable ".[$(EXTRAS)]"
	@touch $(STAMP)

book: $(STAMP)
	@$(BIN)/python book/build.py book

site: $(STAMP)
	$(BIN)/python book/build.py site

execute: $(STAMP)
	$(BIN)/python book/build.py execute

times: $(STAMP)
	$(BIN)/python book/build.py times

lab: $(STAMP)
	$(BIN)/python -m book.course lab --chapter $(CHAPTER)

notebooks: $(STAMP)
	$(BIN)/python -m book.course notebooks

assignments: $(STAMP)
	@$(BIN)/python -m book.course assignments --seed "$(SEED)" $(if $(GRADEBOOK),--gradebook)

grade: $(STAMP)
	@$(BIN)/python -m book.course grade "$(SUBMITTED)" --sandbox "$(SANDBOX)"

pdf: site
	$(BIN)/python book/screenshots.py pdf

slides: $(STAMP)
	$(BIN)/python book/slides.py

offline-kit: $(STAMP)
	@$(BIN)/python -m book.course offline-kit --platform "$(PLATFORM)"

test: $(STAMP)
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m pytest

slow: $(STAMP)
	@$(BIN)/python book/build.py slow

fuzz: $(STAMP)
	@$(BIN)/python -W ignore tests/fuzz.py

portable: $(STAMP)
	$(BIN)/python book/build.py portable

peers: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(PEERS)
	$(BIN)/python -m pytest tests/test_peers.py

bench: $(STAMP)
	$(BIN)/python -m benchmarks

wall: $(STAMP)
	$(BIN)/python book/wall.py

lint: $(STAMP)
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

lock: $(STAMP)
	$(BIN)/python book/build.py lock

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find pltutorial tests book benchmarks notebooks -name __pycache__ -prune -exec rm -rf {} +
