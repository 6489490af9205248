"""Renders a chart with real Helm. Run by the Python of the linters: ``render.py CHART VALUES`` prints JSON.

``VALUES`` is a file; ``{"error": …}`` is printed for what Helm refuses, else ``{"files": {template: text}, "lint": […]}``.
"""

# ruff: noqa: T201 - what it prints is what it is for

import json
import sys
from pathlib import Path

import helm_python as helm
import yaml

NAMESPACE = "shop"


def main(chart: str, values: str) -> None:
    given = yaml.safe_load(Path(values).read_text()) or {}
    try:
        with helm.Chart.load(chart) as loaded:
            loaded.validate_schema(given)
            files = loaded.render(given, name="live", namespace=NAMESPACE)
        lint = helm.lint(chart, values=given)
    except helm.HelmError as error:
        print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps({"files": files, "lint": lint}))


main(*sys.argv[1:])
