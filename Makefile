# make demo   a matte and a cut-out from a real photograph, offline, into demo/
# make test   lint, type check and tests
# make check  lint, type check and the quick tests
# make lint   lint and type check alone
# make test-lowest   the tests with the lowest version of every package of requirements.txt (Python 3.10 or 3.11)
# make test-processors   the tests of numbers with fewer instructions and other numbers of threads (x86)
# make bench  speed and memory against transformers
# make docs   the documentation as a site, into site/; a warning is an error

PYTHON ?= python3
VENV ?= .venv
# On Linux a plain torch brings gigabytes of CUDA libraries, which neither demo nor tests need;
# set TORCH to another requirement to choose, and INDEX to where the lowest one is without them.
TORCH ?= torch==2.13.0
INDEX ?=

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
LOWEST := $(VENV)-lowest/Scripts
DOCS := $(VENV)-docs/Scripts
else
BIN := $(VENV)/bin
LOWEST := $(VENV)-lowest/bin
DOCS := $(VENV)-docs/bin
endif

.PHONY: demo check test test-lowest test-processors lint bench docs clean

$(VENV)/runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

# timm without torchvision, of which there is no build for every torch: see tests/support/timm_alone.py.
$(VENV)/development: requirements-dev.txt $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps timm
	touch $@

demo: $(VENV)/runtime
	$(BIN)/python -m vitmatte cutout pictures/portrait.jpg --mask pictures/portrait-mask.png --inner 20 --outer 30 \
		-o demo/portrait-cutout.png --alpha demo/portrait-alpha.png
	$(BIN)/python -m vitmatte cutout pictures/portrait.jpg --mask pictures/portrait-mask.png --inner 20 --outer 30 \
		-o demo/portrait-magenta.jpg --background "#c83c9f"
	$(BIN)/python -m vitmatte cutout pictures/lemur.jpg --mask pictures/lemur-mask.png --inner 12 --outer 16 \
		-o demo/lemur-cutout.png --alpha demo/lemur-alpha.png

# Threads that wait for work without spinning: other work on the machine would slow the tests down many times.
check test test-lowest test-processors: export OMP_WAIT_POLICY = PASSIVE

check: lint
	$(BIN)/python -m pytest tests -q -m "not slow"

test: lint
	$(BIN)/python -m pytest tests -q

# transformers and pymatting want newer packages; the tests that compare with them are left out without them.
$(VENV)-lowest/tests: requirements.txt
	$(PYTHON) -m venv $(VENV)-lowest
	sed 's/>=/==/' requirements.txt > $(VENV)-lowest/requirements.txt
	$(LOWEST)/python -m pip install --quiet --disable-pip-version-check $(INDEX) \
		-r $(VENV)-lowest/requirements.txt pytest hypothesis pyyaml pathspec
	touch $@

test-lowest: $(VENV)-lowest/tests
	$(LOWEST)/python -m pip list
	$(LOWEST)/python -m pytest tests -q

test-processors: $(VENV)/development
	$(BIN)/python tests/support/processors.py

lint: $(VENV)/development
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/development
	$(BIN)/python -m benchmarks

# An environment of its own: the site needs neither torch nor this library, whose source it only reads.
$(VENV)-docs/site: requirements-docs.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(DOCS)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@

docs: $(VENV)-docs/site
	NO_MKDOCS_2_WARNING=1 PATH="$(abspath $(DOCS)):$$PATH" $(DOCS)/python -m mkdocs build --strict

clean:
	rm -rf demo build dist site *.egg-info
