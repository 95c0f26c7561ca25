# One build serves everything: release, with internals visible to tests.
FLAGS ?= -c release -Xswiftc -enable-testing
BUILD := .build/release

.PHONY: serve test build toolchain bench clean

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

clean:
	rm -rf .build
