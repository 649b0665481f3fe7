{{- define "weir.labels" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* What the platform and the values say together, as YAML. */}}
{{- define "weir.platform" -}}
{{- $platform := get (.Files.Get "files/platforms.yaml" | fromYaml) (.Values.platform | default "default") -}}
cniConfDir: {{ .Values.cni.confDir | default $platform.cniConfDir | quote }}
cniBinDir: {{ .Values.cni.binDir | default $platform.cniBinDir | quote }}
cniEnabled: {{ if kindIs "bool" .Values.cni.enabled }}{{ .Values.cni.enabled }}{{ else }}{{ $platform.cniEnabled }}{{ end }}
netnsDir: {{ .Values.netnsDir | default $platform.netnsDir | quote }}
seLinuxType: {{ .Values.seLinuxType | default $platform.seLinuxType | quote }}
securityContextConstraints: {{ $platform.securityContextConstraints }}
resourceQuota: {{ if kindIs "bool" .Values.resourceQuota }}{{ .Values.resourceQuota }}{{ else }}{{ $platform.resourceQuota }}{{ end }}
{{- end }}
