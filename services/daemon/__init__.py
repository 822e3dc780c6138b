"""`buildmeshd`: the all-in-one under the command line and the configuration file of buildkitd (reference: cmd/buildkitd).

flags.py reads the command line, toml_file.py the file, amounts.py sizes and durations; plan.py turns both into the configuration of the
six services; start.py takes the lock and runs them. Unlike buildkitd, an unknown key in the file is an error with a hint.
"""

from services.daemon.start import main

__all__ = ["main"]
