{{/* The agent's configuration file. */}}
{{- define "weir.config" -}}
source: kubernetes
{{- if .Values.cni.enabled }}
install-cni: true
cni-conf-dir: /host/cni/conf
cni-bin-dir: /host/cni/bin
{{- end }}
{{- if .Values.enablementSelectors }}
enablement-selectors: /etc/weir/selectors.yaml
{{- end }}
{{- with .Values.config }}
{{ toYaml . }}
{{- end }}
{{- end }}
