# make demo   a matte and a cut-out from a real photograph, offline, into demo/
# make test   lint, type check and tests
# make lint   lint and type check alone
# make bench  speed and memory against transformers

PYTHON ?= python3
VENV ?= .venv
# On Linux a plain torch brings gigabytes of CUDA libraries, which neither demo nor tests need;
# set TORCH to another requirement to choose.
TORCH ?= torch==2.13.0

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: demo test lint bench clean

$(VENV)/runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

# timm without torchvision, of which there is no build for every torch: see tests/timm_alone.py.
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

test: lint
	$(BIN)/python -m pytest tests -q

lint: $(VENV)/development
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/development
	$(BIN)/python -m benchmarks

clean:
	rm -rf demo build dist *.egg-info
