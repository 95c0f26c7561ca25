#!/usr/bin/env bash
# Fuzz/run.sh SECONDS [TARGET…]: libFuzzer with AddressSanitizer on each target, one after the other.
# The corpus grows in .build/fuzz-corpus; an input that crashes, hangs or takes more than 512 MiB is
# kept in Fuzz/crashers/TARGET, where `make test` runs it again for ever.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
export AUTOGLM_FUZZ=1
# The first flag leaves `main` to libFuzzer. Swift's compiler needs both sanitizers in one flag: of two
# it takes the last, and nothing would tell libFuzzer which Swift code an input reaches.
swift build -c release --scratch-path .build/fuzz --product autoglm-fuzz --sanitize fuzzer \
  -Xswiftc -sanitize=fuzzer,address -Xcc -fsanitize=fuzzer-no-link,address \
  -Xswiftc -enable-testing
fuzz=.build/fuzz/release/autoglm-fuzz
# Symbols cost seconds for every report. Leaks are not looked for: what a target makes once stays.
export ASAN_OPTIONS=symbolize=0:detect_leaks=0:allocator_may_return_null=1
export SWIFT_BACKTRACE=enable=no
corpora=.build/fuzz-corpus
found=0
for target in "${@:-$($fuzz)}"; do
  for name in $target; do
    corpus=$corpora/$name
    mkdir -p "$corpus" "Fuzz/crashers/$name"
    export AUTOGLM_FUZZ_TARGET=$name
    AUTOGLM_FUZZ_SEEDS=$corpus $fuzz
    status=0
    # To a file: a pipe can hang the run.
    $fuzz "$corpus" "Fuzz/crashers/$name" -max_total_time="$seconds" -dict="$corpus.dict" \
      -rss_limit_mb=512 -timeout=5 -max_len=4096 -print_final_stats=1 -detect_leaks=0 \
      -artifact_prefix="Fuzz/crashers/$name/" < /dev/null > "$corpora/$name.log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$corpora/$name.log")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$corpora/$name.log")
    cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$corpora/$name.log" | tail -1)
    echo "$name: ${runs:-?} executions, ${cover:-?} edges, at most ${peak:-?} MiB, status $status"
    if [ "$status" -ne 0 ]; then
      found=1
      grep -aE "broken promise|Fatal error|ERROR|Test unit written" "$corpora/$name.log" | head -5 || true
    fi
    rmdir "Fuzz/crashers/$name" 2>/dev/null || true
  done
done
exit $found
