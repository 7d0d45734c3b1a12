# make demo | test | lint | train | docs: each makes and uses .venv in this folder, with pip alone.
PYTHON ?= python3
BIN := .venv/bin

# Three = signs on Linux: `==` also takes a local version such as 2.13.0+cpu, if pip sees one,
# and PyPI's torchvision does not load beside that. The pair is pinned for it to match.
ifeq ($(shell uname -s),Linux)
TORCH := torch===2.13.0 torchvision===0.28.0
else
TORCH := torch==2.13.0 torchvision==0.28.0
endif

.PHONY: demo test test-original fuzz soak faults audit lint train docs test-site docs-tables clean

# Rain on and off photographs, then the downstream tables on half of the scenes that are drawn
# here; without --limit each command takes all of them, for twice the time
demo: .venv/.demo
	$(BIN)/python -m examples.demo
	$(BIN)/python -m evaluation classification --limit 120 --out demo_output/classification
	@if $(MAKE) --no-print-directory MMCV=--quick .venv/.openmmlab; then \
	    $(BIN)/python -m evaluation segmentation --limit 50 --out demo_output/segmentation && \
	    $(BIN)/python -m evaluation detection --limit 50 --out demo_output/detection && \
	    $(BIN)/python -m evaluation report --out demo_output \
	        demo_output/classification demo_output/segmentation demo_output/detection; \
	else \
	    echo "mmcv could not be built quickly, so segmentation and detection are left out;"; \
	    echo "\`make .venv/.openmmlab\` builds it in about 15 minutes, then run \`make demo\` again"; \
	fi

# a process for each core, up to four, since every one loads the whole stack; threads would slow them down
test: .venv/.openmmlab
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

# Checks too long for the tests; results are in docs/reliability.md
fuzz soak: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m reliability $@

# Known vulnerabilities of what is installed; needs a registry that serves them, such as PyPI
audit: .venv/.openmmlab
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip list --format=freeze --exclude-editable > .venv/audit/installed.txt
	.venv/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement .venv/audit/installed.txt

# What is plugged into mmdet and mmseg, with OpenMMLab's own packages: they have the import names
# of the maintained ones, so they get an environment of their own
test-original: .venv-original/.ready
	OMP_NUM_THREADS=1 TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 .venv-original/bin/python -m pytest \
	    tests/openmmlab/test_batch.py tests/openmmlab/test_config.py tests/openmmlab/test_dry.py \
	    tests/openmmlab/test_hook.py tests/openmmlab/test_registry.py tests/openmmlab/test_transforms.py

# Kills, full disks, Ctrl-C and several processes; results in docs/reliability.md
faults: .venv/.openmmlab
	$(BIN)/python -m reliability faults
	$(BIN)/python -m reliability distributed

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The derainer from nothing: make train PHOTOS="DIR DIR" STREAKS=DIR VAL=DIR FEATURES=squeezenet1_1.pth
# The same command again resumes from the last checkpoint. FEATURES: torchvision's weights.
# Without STREAKS their share of the rain is 0, without FEATURES there is no perceptual loss.
TRAIN_OPTIONS = $(strip $(if $(FEATURES),model.feature_weights=$(FEATURES)) \
    $(if $(STREAKS),,train_dataloader.dataset.mixture.streaks=0))
train: .venv/.demo
	$(BIN)/python -m training configs/training/jorder_e_lite.py --photos $(PHOTOS) \
	    $(if $(STREAKS),--streaks $(STREAKS)) --val-photos $(VAL) \
	    $(if $(TRAIN_OPTIONS),--cfg-options $(TRAIN_OPTIONS)) \
	    $(if $(wildcard work_dirs/jorder_e_lite/last_checkpoint),--resume)

# The documentation site, in site/; its page "Try it" takes the runtime for browsers from npm.
docs: .venv/.docs build/site/.runtime build/site/derainer.onnx
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# the site in Chromium: the page "Try it" beside Python, nothing from elsewhere, fit for phones
test-site: docs
	$(BIN)/python -m pytest tests_site

# Tables and figures of docs/tables.md and docs/speed.md again, by the commands on the page:
# make docs-tables SECTIONS="masks speed"; by default those that need shipped weights alone.
docs-tables: .venv/.dev
	$(BIN)/python -m tools.docs_tables $(SECTIONS)

clean:
	rm -rf .venv .venv-original demo_output build/site site

# Stamps: an environment is made once, and again after a change of what it holds.
.venv/.torch: Makefile
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or later is needed: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	touch $@

.venv/.demo: .venv/.torch pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --editable '.[demo]' $(TORCH)
	touch $@

.venv/.dev: .venv/.torch pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --editable '.[dev]' $(TORCH)
	touch $@ .venv/.demo

# mmdet and mmseg with compiled ops, for tests/openmmlab; torch must be there before them
.venv/.openmmlab: .venv/.dev tools/build_mmcv.py
	$(BIN)/python -m pip install --quiet --editable '.[dev,openmmlab]' $(TORCH)
	$(BIN)/python tools/build_mmcv.py $(MMCV)
	touch $@

.venv/.docs: .venv/.dev
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs]' $(TORCH)
	touch $@

build/site/.runtime: Makefile
	npm install --prefix build/site --ignore-scripts --no-audit --no-fund onnxruntime-web@1.30.0
	touch $@

build/site/derainer.onnx: .venv/.docs jorder_preproc/weights/jorder_e_lite.safetensors tools/site_assets.py
	$(BIN)/python -m tools.site_assets

.venv-original/.ready: Makefile pyproject.toml setup.py tools/build_mmcv.py
	$(PYTHON) -m venv .venv-original
	.venv-original/bin/python -m pip install --quiet $(TORCH)
	.venv-original/bin/python -m pip install --quiet --editable '.[openmmlab-original]' $(TORCH) \
	    pytest scikit-image
	.venv-original/bin/python tools/build_mmcv.py --original
	touch $@
