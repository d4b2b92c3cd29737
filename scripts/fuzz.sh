#!/usr/bin/env bash
# Fuzzes every target of the module in the current directory for FUZZTIME each, one after the other, since the
# go command takes one target at a time. A failing input is left in the package's testdata/fuzz.
set -euo pipefail
here=$(dirname "$0")
failed=0

while IFS= read -r file; do
  while IFS= read -r target; do
    echo "-- $(dirname "$file") $target"
    "${GO:-go}" test -vet=off -run='^$' -fuzz="^$target\$" -fuzztime="${FUZZTIME:-10s}" "$(dirname "$file")" </dev/null || failed=1
  done < <(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file")
done < <("$here/testfiles.sh")
exit "$failed"
