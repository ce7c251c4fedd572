"""`alumiguard run`: the box, in the foreground."""

from provisioning.answers import DEFAULT_CONFIG, ConfigPath, fail, verb
from provisioning.configuration import read


@verb
def run(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the box and its console until Ctrl-C.

    A process of it that ends is started again. For development and trials; on a plant's box systemd does
    this. The diagnostics log goes to stdout, one JSON object a line.

    Exit status: 0 stopped as asked; 1 could not start.
    """
    read(config)  # for its mistakes, in the form of the CLI
    from appliance import run as box
    from appliance.supervisor import CannotStart

    try:
        box.main(config)
    except CannotStart as error:
        raise fail(config, error, "mend what the lines above name, then run it again") from None
