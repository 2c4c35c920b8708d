{{/* The name of all objects of this release. */}}
{{- define "churn-serving.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- end }}

{{/* The selector labels of the Service, the budget and the Deployment; they never change. */}}
{{- define "churn-serving.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels of all objects. */}}
{{- define "churn-serving.labels" -}}
{{ include "churn-serving.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/component: serving
app.kubernetes.io/part-of: churnflow
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The image, by digest if one is set. */}}
{{- define "churn-serving.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
{{- end }}

{{/*
Number of pods to ask for. The autoscaler owns it after the first installation: an upgrade under load that
asked for replicaCount again would take most of the pods away.
*/}}
{{- define "churn-serving.replicas" -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "churn-serving.name" .) -}}
{{- if and .Values.autoscaling.enabled $live -}}
{{ $live.spec.replicas }}
{{- else -}}
{{ .Values.replicaCount }}
{{- end -}}
{{- end }}
