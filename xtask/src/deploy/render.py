"""Renders a chart with Helm's own engine where there is no `helm`: render.py CHART RELEASE NAMESPACE < VALUES

Prints what `helm template` prints, in another order.
"""

import sys

import helm_python as helm

chart, release, namespace = sys.argv[1:]
try:
    values = helm.values_from_yaml(sys.stdin.read())
    rendered = helm.Chart.load(chart).render(values, name=release, namespace=namespace)
except helm.HelmError as error:
    sys.exit(str(error))
for path, text in rendered.items():
    if text.strip() and not path.endswith("NOTES.txt"):
        print(f"---\n# Source: {path}\n{text}")
