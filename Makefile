# Every target installs what it needs: Debian packages, a Python environment from the lock, Go programs. See README.md.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.PHONY: quickstart test chaos check bench proto stack images fmt lock tools python

DEV = $$(tests/tools/venv dev)
CODE = services shared client tests
export PYTHONPATH := $(CURDIR)
export PATH := $(or $(BUILDMESH_TOOLS),$(HOME)/.cache/buildmesh/tools)/bin:$(PATH)

quickstart: ## build examples/hello with the all-in-one and run the result
	@tests/tools/debian run
	@examples/quickstart

test: tools ## every test, on real parts
	@tests/tools/suite $(DEV)/bin/python $(ARGS)

chaos: tools ## kill, stop and drain everything under load, with several seeds; SEEDS=1,2,… chooses them
	@BUILDMESH_CHAOS_SEEDS=$(or $(SEEDS),1,2,3,4,5) $(DEV)/bin/python -m pytest -s tests/chaos $(ARGS)

check: python ## format, lint, types, import contracts, fast tests: under a minute
	@$(DEV)/bin/python tests/tools/check $(ARGS)

bench: tools ## measure against a real buildkitd; ARGS="--write" also updates docs/measuring.md
	@$(DEV)/bin/python -m tests.bench $(ARGS)

proto: python ## shared/proto -> shared/pb
	@PYTHON=$(DEV)/bin/python shared/proto/generate

stack: tools ## six processes over nats-server and MinIO; stops with Ctrl-C
	@$(DEV)/bin/python -m tests.kit.stack $(ARGS)

images: ## base images made of Debian packages, where no registry is in reach; prints their folders
	@tests/tools/debian run test
	@for name in busybox debian; do $$(tests/tools/venv run)/bin/python -m tests.kit.images $$name; done

fmt: python ## format and mend what ruff can mend
	@venv=$(DEV); $$venv/bin/ruff format $(CODE); $$venv/bin/ruff check --fix $(CODE)

lock: python ## resolve pyproject.toml anew, with hashes
	@tests/tools/lock

python:
	@tests/tools/venv dev >/dev/null

tools: python
	@tests/tools/debian run test docker metrics
	@tests/tools/install --all >/dev/null
	@$(DEV)/bin/python -m tests.kit.images debian >/dev/null
	@$(DEV)/bin/python -m tests.kit.fleet_images >/dev/null
