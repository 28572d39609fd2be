"""`python -m inference_fleet` is the `inference-fleet` command."""

from inference_fleet.cli.main import main

main()
