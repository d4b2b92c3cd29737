#!/usr/bin/env bash
# Lists the test files of the module in the current directory; modules nested in it are not its own.
set -euo pipefail
find . -type d \( -name testdata -o -name '.?*' \) -prune \
  -o -type d ! -path . -exec test -f '{}/go.mod' \; -prune \
  -o -type f -name '*_test.go' -print | sort
