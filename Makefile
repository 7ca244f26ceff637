# SPDX-License-Identifier: MIT
# `make` builds the object and .venv/bin/fw; `make demo` shows them at work; `make help` lists the rest.

PREFIX  ?= /usr/local
DESTDIR ?=
PYTHON  ?= /usr/bin/python3
CLANG   ?= clang
STRIP   ?= llvm-strip
OUT     ?= build

VENV    := .venv
PY      := $(VENV)/bin/python
C_FILES := $(wildcard bpf_src/*.[ch] tree_src/*.[ch] bench/*.[ch])
OBJECTS := $(patsubst bpf_src/%.bpf.c,build/%.bpf.o,$(wildcard bpf_src/*.bpf.c))
# The BPF instruction set of level 3 (32-bit arithmetic and jumps) is as old as Linux 5.1.
BPFFLAGS := -O2 -g -target bpf -mcpu=v3 -std=gnu11 -Wall -Werror \
            -idirafter /usr/include/$(shell uname -m)-linux-gnu
TREEFLAGS := -O3 -g -std=gnu11 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden
# What an installed fw imports; typer's further dependencies are for output that fw does not use.
RUNTIME := typer annotated-doc shellingham pyroute2
PIP     := $(PY) -m pip --disable-pip-version-check --no-input -qq install -c packaging/constraints.txt
PYTEST  := $(PY) -m pytest

# Compiled modules halve the time of all that follows.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: all setup demo test test-fast test-differential test-kernels abi lint format bench bench-commands bench-classifier bench-new-flows bench-full-table bench-many-rules bench-policy bench-sets wheel install uninstall clean help

all: build/fw.bpf.o $(OBJECTS) build/libfwtree.so $(VENV)/bin/fw	## build the object, the library and .venv/bin/fw

setup:	## install what is missing from the distribution's packages (as root)
	@scripts/setup build

demo:	## set up, build, and show fw at work in a lab of network namespaces (as root)
	@scripts/setup build
	@$(MAKE) --no-print-directory all
	@scripts/demo

test:	## set up, build, and run every test (as root)
	@scripts/setup test
	@$(MAKE) --no-print-directory all build/stage/.done
	$(PYTEST) -n 2 -m "not alone and not vm"
	$(PYTEST) -m "alone and not vm"
	$(PYTEST) -n 2 -m vm

test-fast:	## set up, build, and run the tests that need no root
	@scripts/setup fast
	@$(MAKE) --no-print-directory all
	$(PYTEST) -n 2 -m "not alone" tests/unit tests/golden tests/cli

test-differential:	## compare conntrack with netfilter's, for long: SEED= PACKETS=1000000 (as root)
	@scripts/setup test
	@$(MAKE) --no-print-directory all
	SEED=$(or $(SEED),$(strip $(shell od -An -N4 -tu4 /dev/urandom))) PACKETS=$(or $(PACKETS),1000000) \
		$(PYTEST) -n auto tests/lab/test_differential.py

test-kernels: all build/stage/.done	## test packets, devices and conntrack on Linux 5.10, 6.1 and 6.12 in QEMU: SEED= (as root)
	@scripts/setup test
	@SEED=$(SEED) $(PY) -m tests.vm

abi: build/fw.bpf.o $(VENV)/bin/fw	## write firewall/abi.py from the object's BTF
	@$(PY) scripts/gen-abi build/fw.bpf.o > build/abi.py
	@mv build/abi.py firewall/abi.py

lint: $(VENV)/bin/fw	## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run -Werror $(C_FILES)

format: $(VENV)/bin/fw	## bring Python and C into the project's form
	$(VENV)/bin/ruff check --fix-only -q .
	$(VENV)/bin/ruff format -q .
	$(VENV)/bin/clang-format -i $(C_FILES)

bench: all	## measure the cost of a packet against an empty program (as root)
	@$(PY) bench/packet_cost

bench-commands: all	## measure how long each command takes (as root)
	@$(PY) bench/commands

bench-classifier: all	## measure what finding the rule costs, among up to 100,000 (as root)
	@$(PY) bench/classifier

bench-new-flows: all	## measure the rate of new connections beside nftables and iptables, for minutes (as root)
	@$(PY) bench/new_flows

bench-full-table: all	## measure commands on a table of a million flows, for some minutes (as root)
	@$(PY) bench/full_table

bench-many-rules: all	## measure the memory of 100,000 rules, and the commands that list them (as root)
	@$(PY) bench/many_rules

bench-policy: all	## measure commands on policies of up to 100,000 rules, for some minutes (as root)
	@$(PY) bench/policy

bench-sets: all	## measure commands on sets of up to a million prefixes, for some minutes (as root)
	@$(PY) bench/sets

wheel: all	## build/dist/fw-*.whl, with the object in it
	@rm -rf build/dist
	@$(PY) -m pip --disable-pip-version-check --no-input -qq wheel --no-build-isolation --no-deps -w build/dist .
	@ls build/dist/fw-*.whl

install: all build/stage/.done	## put fw, its boot unit, man page and completions below PREFIX
	@packaging/install install "$(PREFIX)" "$(DESTDIR)" "$(PYTHON)"

uninstall:	## unload fw and take away what install put there; /etc/fw and /var/lib/fw stay
	@packaging/install uninstall "$(PREFIX)" "$(DESTDIR)"

clean:	## remove what was built
	rm -rf build $(VENV)
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-22s %s\n", $$1, $$2}' Makefile

$(OUT)/%.bpf.o: bpf_src/%.bpf.c Makefile
	@command -v $(CLANG) $(STRIP) >/dev/null || { echo "make: clang or llvm-strip is missing: run make setup" >&2; exit 1; }
	@mkdir -p $(@D)
	$(CLANG) $(BPFFLAGS) -MMD -MP -MT $@ -MF $(@D)/$*.d -c $< -o $@
	@$(STRIP) -g $@

$(OUT)/libfwtree.so: $(wildcard tree_src/*.[ch]) Makefile
	@mkdir -p $(@D)
	$(CLANG) $(TREEFLAGS) $(CFLAGS) $(LDFLAGS) $(filter %.c,$^) -o $@

# An editable install, so that .venv/bin/fw runs this tree; pip's own script gives way to the faster launcher.
$(VENV)/bin/fw: pyproject.toml packaging/constraints.txt packaging/launcher Makefile
	@echo "making $(VENV)"
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || { echo "make: Python's venv is missing: run make setup" >&2; exit 1; }
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e .[test,lint]
	@paths=$$($(PY) -c 'import sysconfig as s; print("\"..\",", repr("lib/" + s.get_path("purelib").rsplit("/lib/")[1]))') && \
	    sed -e "s|@PYTHON@|$(PYTHON)|" -e "s|@PATHS@|$$paths|" packaging/launcher > $@.new
	@chmod 755 $@.new && mv $@.new $@

build/stage/.done: pyproject.toml packaging/constraints.txt $(VENV)/bin/fw
	@rm -rf build/stage && mkdir -p build/stage
	@$(PIP) --no-deps --no-compile --target build/stage $(RUNTIME)
	@rm -rf build/stage/bin && touch $@

-include $(OBJECTS:build/%.bpf.o=build/%.d)
