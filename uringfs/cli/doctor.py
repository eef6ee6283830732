"""`uringfs doctor`: what works here, what does not, and what to do about it."""

import argparse
import json

from uringfs.cli import checks

UNSOUND = 1
EXITS = {0: "rings can be mounted here, which was tried", UNSOUND: "they cannot"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="{ok, checks: [{check, state, found, advice}]}")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: rings can be mounted here, which was tried; 1: they cannot."""
    found = list(checks.findings())
    sound = all(finding.state != checks.WRONG for finding in found)
    if args.json:
        print(json.dumps({"ok": sound, "checks": [finding._asdict() for finding in found]}, indent=2))
    else:
        for finding in found:
            print(f"{finding.state:5}  {finding.check}: {finding.found}")
            if finding.advice:
                print(f"       {finding.advice}")
    return 0 if sound else UNSOUND
