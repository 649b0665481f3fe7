{{/* The agent's configuration file. */}}
{{- define "weir.config" -}}
source: kubernetes
{{- if (include "weir.platform" . | fromYaml).cniEnabled }}
install-cni: true
{{- if not (hasKey .Values.config "cni-exempt") }}
# These start whether or not there is an agent.
cni-exempt:
  - {{ .Release.Namespace }}/weir-
  - {{ index .Values.config "system-namespace" }}/ztunnel-
{{- end }}
{{- end }}
{{- if .Values.enablementSelectors }}
enablement-selectors: /etc/weir/selectors.yaml
{{- end }}
{{- with .Values.config }}
{{ toYaml . }}
{{- end }}
{{- end }}
