# What people run. Each target installs what it needs first; see contrib/provision.
.PHONY: demo test bench fuzz record mutants lint clean base

demo: base
	contrib/demo.sh

test: base
	contrib/provision/packages.sh containers programs security
	.venv/bin/pytest tests $(PYTEST_ARGS)

bench: base
	contrib/provision/packages.sh bench
	.venv/bin/python contrib/bench/run.py $(BENCH_ARGS)

# An hour of random programs, on the kernel and on a mount
fuzz: base
	.venv/bin/python -m tests.fuzz.run $(FUZZ_ARGS)

# What this machine's kernel does in the conformance suite's behaviours, anew; says which changed
record: base
	.venv/bin/python -m tests.conformance.recorder $(RECORD_ARGS)

# Daemons with one fault each, which the conformance suite has to find without the kernel
mutants: base
	.venv/bin/python -m tests.mutants.run $(MUTANTS_ARGS)

lint: base
	.venv/bin/ruff check .
	.venv/bin/mypy

# Packages, .venv, extension module: a moment when nothing changed
base:
	@contrib/provision/packages.sh base
	@contrib/provision/venv.sh

clean:
	rm -rf .venv build out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f uringfs/native/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	for d in contrib/examples contrib/bench contrib/launcher tests/conformance tests/fuzz tests/security; do \
		if [ -e $$d/Makefile ]; then $(MAKE) -s -C $$d clean; fi; \
	done
