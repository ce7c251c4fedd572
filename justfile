# The project's commands. `./justw` brings just and uv along and lists these; logic is in Python, not here.

set positional-arguments

bin := justfile_directory() / ".venv/bin"

# List the commands
[private]
default:
    @just --justfile {{ quote(justfile()) }} --list --unsorted

# Make .venv as pinned in requirements/dev.txt, with the project in it (a second run takes no time)
setup:
    @python3 requirements/setup.py .venv dev.txt

# Show an aluminium line being inspected: simulated plant, box and receiver, on this machine only
[no-exit-message]
[no-cd]
demo *ARGS: setup
    @{{ quote(bin / "alumiguard") }} demo "$@"

# Run the tests; arguments go to pytest
test *ARGS: setup
    @.venv/bin/python -m tests.support.install_chromium
    @.venv/bin/python -m pytest "$@"

# Run only the tests that drive a real browser
browser *ARGS: setup
    @.venv/bin/python -m tests.support.install_chromium
    @.venv/bin/python -m pytest -m browser "$@"

# Check style, formatting and which folder may import which
lint: setup
    @.venv/bin/ruff check
    @.venv/bin/ruff format --check --quiet
    @.venv/bin/lint-imports --no-cache

# Let ruff repair and format what it can
fix: setup
    @.venv/bin/ruff check --fix
    @.venv/bin/ruff format

# Check the types, tests included
types: setup
    @.venv/bin/mypy
    @.venv/bin/mypy requirements/*.py

# Rewrite the generated parts of the documents
docs: setup
    @git ls-files -z '*.md' | xargs -0 .venv/bin/cog -r --verbosity=1

# Fail if a generated part of a document is not what it would be now
docs-check: setup
    @git ls-files -z '*.md' | xargs -0 .venv/bin/cog --check --diff --verbosity=1 --check-fail-msg='run ./justw docs'

# Rebuild the pinned requirement files from pyproject.toml (--upgrade takes newer versions)
lock *ARGS:
    @python3 requirements/lock.py "$@"

# Make .venv-train: torch and ultralytics (AGPL-3.0), which only the trainer may use
setup-train:
    @python3 requirements/setup.py .venv-train train.txt

# Draw pictures, train on them and pack the demo model
demo-model: setup setup-train
    @.venv/bin/python -m provisioning.demo_pictures
    @.venv-train/bin/python cloud_receiver/training/yolo_trainer.py
    @.venv/bin/python -m cloud_receiver.training.pack

# All that has to be green before a change goes in
ci: lint types docs-check test
