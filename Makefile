# What people run. Each target installs what it needs first; see contrib/provision.
.PHONY: help demo test bench fuzz record mutants lint wheel install uninstall clean base

PREFIX ?= /usr/local

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 11

demo: ## mount, copy a file through a ring, use one from the shell, unmount
	@contrib/provision/ready.sh
	@contrib/provision/packages.sh base
	@contrib/provision/venv.sh run
	contrib/demo.sh

test: base ## every test there is (PYTEST_ARGS=...)
	contrib/provision/packages.sh containers programs documents security
	.venv/bin/pytest tests $(PYTEST_ARGS)

bench: base ## measure (BENCH_ARGS=...)
	contrib/provision/packages.sh bench
	.venv/bin/python contrib/bench/run.py $(BENCH_ARGS)

fuzz: base ## an hour of random programs, on the kernel and on a mount (FUZZ_ARGS=...)
	.venv/bin/python -m tests.fuzz.run $(FUZZ_ARGS)

record: base ## what this machine's kernel does in the conformance suite, anew (RECORD_ARGS=...)
	.venv/bin/python -m tests.conformance.recorder $(RECORD_ARGS)

mutants: base ## daemons with a fault each, to be found without the kernel (MUTANTS_ARGS=...)
	.venv/bin/python -m tests.mutants.run $(MUTANTS_ARGS)

lint: base ## ruff, mypy; clang-format, gcc's warnings and analyzer; shellcheck
	contrib/provision/packages.sh lint
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	contrib/lint-c.sh

wheel: base ## a manylinux wheel and an sdist, in out/dist
	contrib/provision/wheel.sh out/dist
	@ls out/dist

install: ## the command, the header and the mount helper, below PREFIX (/usr/local)
	@contrib/provision/packages.sh base
	@contrib/provision/install.sh "$(PREFIX)"

uninstall: ## what `make install` has put there
	@contrib/provision/install.sh --remove "$(PREFIX)"

# Packages, .venv, extension module: a moment when nothing changed
base:
	@contrib/provision/packages.sh base
	@contrib/provision/venv.sh

clean: ## what all of these have made here
	rm -rf .venv build out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f uringfs/*.so uringfs/native/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	for d in contrib/examples contrib/bench contrib/launcher tests/conformance tests/fuzz tests/security; do \
		if [ -e $$d/Makefile ]; then $(MAKE) -s -C $$d clean; fi; \
	done
