#!/usr/bin/env bash
# A whole migration in a real terminal: tests/walk.py says what is typed and what must appear.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-.venv/bin/python}" -m tests.walk "$@"
