#!/usr/bin/env bash
# Scripts/sanitize.sh address|thread [swift test's arguments]: all tests under a sanitizer, in a
# build of its own. With `address` the C code is checked for undefined behaviour as well.
# Fails when a test fails or anything was reported.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
shift
build=.build/sanitize-$kind
flags=(-c release --scratch-path "$build" --sanitize "$kind" -Xswiftc -enable-testing)
flags+=(-Xswiftc -DSANITIZED)
if [ "$kind" = address ]; then
  flags+=(-Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined)
  # Of the C code alone; Swift checks its own arithmetic. AddressSanitizer's library reports both.
fi
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0
export TSAN_OPTIONS=halt_on_error=0:exitcode=66:suppressions=$PWD/Scripts/tsan.supp
export AUTOGLM_FUZZ_SECONDS=${AUTOGLM_FUZZ_SECONDS:-16}
swift build "${flags[@]}" --build-tests
preload=
if [ "$kind" = thread ]; then
  preload=$PWD/$build/tsan_mutex.so
  clang -O2 -shared -fPIC -o "$preload" Scripts/tsan_mutex.c
fi
log=$build/tests.log
status=0
LD_PRELOAD=$preload swift test "${flags[@]}" --skip-build --no-parallel "$@" > "$log" 2>&1 < /dev/null || status=$?
reports=$(grep -acE "(ERROR|WARNING): (Address|Thread)Sanitizer|runtime error:" "$log" || true)
tail -n 3 "$log"
echo "$kind: $reports reports, status $status (all output in $log)"
[ "$status" -eq 0 ] && [ "$reports" -eq 0 ]
