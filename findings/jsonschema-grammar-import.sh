#!/usr/bin/env bash
# A package that is merely installed makes `import jsonschema`, and with it `import ray`, several times
# slower.
#
# Versions   jsonschema 4.26.0, rfc3987-syntax 1.1.0, ray 2.60.0, Python 3.11
# Behaviour  jsonschema imports rfc3987_syntax if it is installed, to check the format "iri", and
#            rfc3987_syntax compiles its grammar with lark when it is imported. ray imports jsonschema
#            in every process, validates no such format, and pays for it in each worker. The extra
#            jsonschema[format-nongpl] installs the package, and cyclonedx-bom requires that extra.
# Expected   An import that costs the same with and without an optional package, whose grammar is
#            compiled on first use.
# Observed   without: import ray 0.3 s; with: 1.3 to 1.9 s of processor time, and lark is loaded.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d /tmp/ts-XXXX)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check install --quiet "$@"; }
cat >"$work/observe.py" <<'PYTHON'
"""Prints the processor time of `import ray`, the least of five processes, and if lark is loaded."""

import subprocess
import sys

CODE = """
import sys, time
start_s = time.process_time()
import ray
print(time.process_time() - start_s, 'lark' in sys.modules)
"""
runs = [subprocess.check_output([sys.executable, "-c", CODE], text=True).split() for _ in range(5)]
print(min(float(seconds) for seconds, _loaded in runs), runs[0][1])
PYTHON
pip ray==2.60.0 jsonschema==4.26.0
without=$("$work/venv/bin/python" "$work/observe.py")
pip rfc3987-syntax==1.1.0
with=$("$work/venv/bin/python" "$work/observe.py")
echo "processor time of import ray in s, lark loaded:"
echo "without rfc3987-syntax: $without"
echo "with rfc3987-syntax:    $with"
"$work/venv/bin/python" - "$without" "$with" <<'PYTHON'
import sys

(fast, no_lark), (slow, lark) = (run.split() for run in sys.argv[1:])
sys.exit(not (no_lark == "False" and lark == "True" and float(slow) > 1.5 * float(fast)))
PYTHON
echo "as described"
