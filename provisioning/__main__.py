"""`python -m provisioning`: the same as `alumiguard`."""

from provisioning.cli import app

app(prog_name="alumiguard")
