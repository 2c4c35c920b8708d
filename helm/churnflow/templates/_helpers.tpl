{{/* The labels of all objects of a component. Takes a list: the root context and the name of the component. */}}
{{- define "churnflow.labels" -}}
{{- $root := index . 0 -}}
{{ include "churnflow.selector" . }}
app.kubernetes.io/part-of: churnflow
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* The labels that select the pods of a component; they never change. Takes the same list. */}}
{{- define "churnflow.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The name of the objects of a component. Takes the same list. */}}
{{- define "churnflow.name" -}}
{{ printf "%s-%s" ((index . 0).Release.Name | trunc 40 | trimSuffix "-") (index . 1) }}
{{- end }}

{{/* An image, by digest if one is set. */}}
{{- define "churnflow.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag }}
{{- end -}}
{{- end }}

{{/* The security context of a container that writes only to mounted volumes. */}}
{{- define "churnflow.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The peer of a NetworkPolicy that matches all pods of Airflow. */}}
{{- define "churnflow.airflowPeer" -}}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ .Values.airflow.namespace }}
podSelector:
  matchLabels:
    tier: airflow
{{- end }}
