# Everything here works on a machine with Python 3.11 or newer, make and a package registry.
#
#   make run     start Troupe on this machine (PORT=8123 chooses the port); Ctrl-C stops it
#   make test    all tests, with coverage; ARGS="tests/routing -k rules" passes words to pytest
#   make check   format, lint, types, import rules, cluster.yaml, requirement files
#   make bench   how it compares; ARGS="--sessions 100" passes words to the bench
#   make chaos   kill its parts while people talk to it; ARGS="--sessions 50 --faults host,valkey"
#   make format  what of the above can be mended by itself
#   make lock    requirements/ anew from pyproject.toml
#   make clean   removes .venv, caches and logs; `make clean ALL=1` also the data in .troupe

PYTHON ?= python3
SETUP := $(PYTHON) -I launcher/bootstrap.py
.DEFAULT_GOAL := help
.PHONY: help run test check bench chaos format lock clean

help:
	@sed -n 's/^#   //p' Makefile

run:
	@exec $(SETUP) run -m launcher run $(if $(PORT),--port $(PORT))

test:
	@exec $(SETUP) dev -m launcher.chores test $(ARGS)

check:
	@exec $(SETUP) dev -m launcher.chores check

format:
	@exec $(SETUP) dev -m launcher.chores format

bench:
	@exec $(SETUP) dev -m bench $(ARGS)

chaos:
	@exec $(SETUP) dev -m chaos $(ARGS)

lock:
	@exec $(SETUP) dev -m launcher.chores lock

clean:
	@rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage* htmlcov \
	  .troupe/logs .troupe/coverage .troupe/uv-* .troupe/*.draft $(if $(ALL),.troupe)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
