#!/usr/bin/env bash
# Runs the tests that the race detector would falsify or only slow down, in the module of the current directory: those of files
# built only without it. They are found by that constraint, so that none is missed for its name.
set -euo pipefail
here=$(dirname "$0")

files=() names=()
while IFS= read -r file; do
  grep -qE '^//go:build .*!race' "$file" || continue
  files+=("$file")
  mapfile -t -O "${#names[@]}" names < <(sed -nE 's/^func (Test[A-Za-z0-9_]*)\(.*/\1/p' "$file")
done < <("$here/testfiles.sh")

if [ "${#names[@]}" -eq 0 ]; then
  echo "no allocation budgets in this module"
  exit 0
fi
mapfile -t packages < <(printf '%s\n' "${files[@]}" | xargs -n1 dirname | sort -u)
pattern="^($(IFS='|'; echo "${names[*]}"))\$"
set -x
"${GO:-go}" test -vet=off -count=1 -run "$pattern" "${packages[@]}"
