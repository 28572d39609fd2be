{{- define "inference-fleet.name" -}}
{{ .Values.fullnameOverride | default "inference-fleet" | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "inference-fleet.selector" -}}
app.kubernetes.io/name: inference-fleet
app.kubernetes.io/component: operator
{{- end }}

{{- define "inference-fleet.labels" -}}
app.kubernetes.io/name: inference-fleet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "inference-fleet.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* A role or its binding is granted to this account. */}}
{{- define "inference-fleet.subjects" -}}
- kind: ServiceAccount
  name: {{ include "inference-fleet.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
