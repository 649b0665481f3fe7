"""Renders a chart with Helm's own engine where there is no `helm`: render.py CHART RELEASE NAMESPACE KUBERNETES < VALUES

Prints what `helm template` prints, in another order.
"""

import json
import sys

import helm_python as helm
from helm_python import _native

path, release, namespace, kubernetes = sys.argv[1:]
options = {"name": release, "namespace": namespace, "kube_version": kubernetes}
try:
    chart = helm.Chart.load(path)
    values = json.dumps(helm.values_from_yaml(sys.stdin.read()))
    # `Chart.render` cannot be told the version of Kubernetes; what it calls can.
    rendered = json.loads(_native.call_string("helm_render", chart._raw(), values, json.dumps(options)))
except helm.HelmError as error:
    sys.exit(str(error))
for path, text in rendered.items():
    if text.strip() and not path.endswith("NOTES.txt"):
        print(f"---\n# Source: {path}\n{text}")
