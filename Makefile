# One build serves everything: release, with internals visible to tests.
FLAGS ?= -c release -Xswiftc -enable-testing
BUILD := .build/release

.PHONY: serve test build toolchain bench bench-peers faults fuzz sanitize clean

serve: build ## Set up, build and serve the embedded default model on 127.0.0.1:8000
	$(BUILD)/autoglm serve $(ARGS)

build: toolchain
	swift build $(FLAGS) --product autoglm

# One test at a time: tests that compute use all cores, and those with deadlines need one.
test: toolchain ## Build and pass all tests
	swift build $(FLAGS) --build-tests
	swift test $(FLAGS) --skip-build --no-parallel $(ARGS)

toolchain:
	@command -v swift >/dev/null 2>&1 || { \
	  echo "Swift 6.2 or newer is needed and 'swift' is not on the PATH." >&2; \
	  echo "Install it from https://www.swift.org/install/linux and try again." >&2; exit 1; }

SECONDS ?= 60
fuzz: toolchain ## libFuzzer on every target, or TARGET=name, for SECONDS each
	Fuzz/run.sh $(SECONDS) $(TARGET)

# Address, then thread, each with a build of its own. Tests that measure time have no meaning here.
SANITIZERS ?= address thread
sanitize: toolchain ## All tests under the sanitizers
	for kind in $(SANITIZERS); do \
	  Scripts/sanitize.sh $$kind $(ARGS) || exit 1; \
	done

bench: build ## Compare with other engines; ARGS go to Benchmarks/compare.py
	python3 Benchmarks/compare.py $(or $(ARGS),--minutes 15)

faults: build ## Attack the program (Tests/Faults/README.md); ARGS go to Tests/Faults/run.py
	python3 Tests/Faults/run.py $(BUILD)/autoglm $(ARGS)

PEERS := .build/benchmarks/peers
bench-peers: ## Install the other engines (Benchmarks/README.md)
	python3 -m venv $(PEERS)
	CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" \
	  $(PEERS)/bin/pip install -r Benchmarks/requirements.txt
	$(PEERS)/bin/pip uninstall -y torchvision

clean:
	rm -rf .build
