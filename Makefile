# make quickstart   adapt the FIGR pair that ships to four drawings: a picture and an animation
# make demo         the page in a browser: draw four, get 64; draw three, and a fourth is recognised;
#                   MODEL=models/figr and CLASSIFIER=models/mine, by default the shipped models; PORT=8080
# make judge        the page on which people tell generated drawings from real ones; DECK=, ANSWERS=, STAND_IN=FILE, PORT=8081
# make train        meta-train a small FIGR pair on drawn glyphs (minutes on a CPU), generate an unseen one
# make test         lint, and the tests of a few minutes
# make test-whole   with browsers, workers, served exports, whole runs; CI runs both
# make test-all     all of these, and the slow ones
# make bench         speed beside an eager PyTorch peer, PEER=PATH/torch_figr.py PEER_PYTHON=PATH/bin/python
# make bench-growth  how time grows with n, K, image size and channels
# make bench-scaling tasks per second with one and two workers, and their all-reduce by message size
# make bench-serving MODEL=models/figr   latency, throughput and memory of an export behind the embedded server
VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
SHIPPED := models/omniglot-32
SHIPPED_CLASSIFIER := models/omniglot-3way

.PHONY: quickstart demo judge train test test-whole test-all lint format bench bench-growth bench-scaling bench-serving

$(INSTALLED): requirements.txt pyproject.toml
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[dev]'
	touch $@

quickstart: $(INSTALLED)
	mkdir -p quickstart
	$(PYTHON) -m figr_tf.generate --images examples/umbrella --out quickstart/out.png --gif quickstart/out.gif
	@echo "Look at quickstart/out.png and out.gif: framed, four drawings of something the pair has never seen; below, its own."

demo: $(INSTALLED) $(if $(MODEL),,$(SHIPPED)/1) $(if $(CLASSIFIER),,$(SHIPPED_CLASSIFIER)/1)
	$(PYTHON) -m serving.demo --model_base_path $(or $(MODEL),$(SHIPPED)) \
		--classifier_base_path $(or $(CLASSIFIER),$(SHIPPED_CLASSIFIER)) $(if $(PORT),--port $(PORT))

judge: $(INSTALLED)
	$(PYTHON) -m serving.judge $(if $(DECK),--deck $(DECK)) $(if $(ANSWERS),--answers $(ANSWERS)) $(if $(STAND_IN),--stand_in $(STAND_IN)) $(if $(PORT),--port $(PORT))

$(SHIPPED)/1 $(SHIPPED_CLASSIFIER)/1: models/%/1: | $(INSTALLED)
	$(PYTHON) -m exporters.export_saved_model --run $* --export_dir models/$*

train: $(INSTALLED)
	$(PYTHON) -m figr_tf.train --flagfile flags/glyphs.flags --run quickstart/run
	$(PYTHON) -m figr_tf.generate --run quickstart/run --images examples/glyph --out quickstart/glyph.png
	@echo "Look at quickstart/glyph.png: framed, four drawings of a glyph the model was never trained on; below, its own."

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

test: lint
	$(PYTHON) -m pytest -n 2 --dist loadfile

test-whole: $(INSTALLED)
	$(PYTHON) -m pytest -n 2 --dist loadfile -m "whole and not slow"

test-all: lint
	$(PYTHON) -m pytest -n 2 --dist loadfile -m ""

bench: $(INSTALLED)
	$(PYTHON) -m benchmarks.speed $(if $(PEER),--peer=$(PEER)) $(if $(PEER_PYTHON),--peer_python=$(PEER_PYTHON)) --json=bench.json

bench-growth: $(INSTALLED)
	$(PYTHON) -m benchmarks.growth --out=growth.png

bench-scaling: $(INSTALLED)
	$(PYTHON) -m benchmarks.scaling

bench-serving: $(INSTALLED)
	$(PYTHON) -m benchmarks.serving --model_base_path $(MODEL)
