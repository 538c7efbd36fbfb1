# make quickstart   trains, evaluates and shows a small PaliGemma; 17 minutes on 2 cores
# make test         all tests and the linter
# make demo         a page to ask the quickstart's model about images: http://127.0.0.1:7860
# make peers        compares with transformers and keras-hub, live; needs 3 GB for their venv
# make bench-decode tokens/s beside theirs, in the same venv; leave the machine alone meanwhile
# make bench-train  gradients, then a training step beside theirs, likewise
# make bench-loader images/s of the loader beside tf.data, in one more venv (TensorFlow, 2 GB)
# Each sets up its venv by itself. PYTHON=python3.12 picks another interpreter.
PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
TF ?= .venv-tf
SIZE ?= small
W ?= workdirs/quickstart
PY = $(VENV)/bin/python
CONFIG = configs/quickstart.py:$(SIZE)

.PHONY: quickstart test lint demo peers bench-decode bench-train bench-loader
quickstart: $(VENV)/installed
	$(PY) -m big_vlm.datasets.prepare digits/$(SIZE) --data_dir data
	$(PY) -m trainers.train --config $(CONFIG) --workdir $(W)
	$(PY) -m evaluators.run --config $(CONFIG) --init $(W) --split test --workdir $(W)/test

test: lint $(VENV)/installed-demo
	$(PY) -m pytest -n auto --dist loadfile

lint: $(VENV)/installed
	$(PY) -m ruff check .

demo: $(VENV)/installed-demo
	$(PY) -m tools.demo $(W)

peers: $(PEERS)/installed $(TF)/installed
	KERAS_BACKEND=jax $(PEERS)/bin/python -m pytest tests/peers

bench-decode: $(PEERS)/installed
	$(PEERS)/bin/python -m benchmarks.decode

bench-train: $(PEERS)/installed
	$(PEERS)/bin/python -m benchmarks.gradients
	$(PEERS)/bin/python -m benchmarks.train_step

bench-loader: $(VENV)/installed $(TF)/installed
	$(PY) -m benchmarks.loader --tf $(TF)/bin/python --rounds 3

$(TF)/installed: requirements-tf.txt
	$(PYTHON) -m venv $(TF)
	$(TF)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-tf.txt
	touch $@

$(PEERS)/installed: requirements.txt requirements-peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements.txt -r requirements-peers.txt
	$(PEERS)/bin/python -m pip install --quiet --no-deps keras-hub==0.32.0
	touch $@

$(VENV)/installed-demo: $(VENV)/installed requirements-demo.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-demo.txt
	touch $@

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "big_vlm needs Python 3.11 \
	or later, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@
