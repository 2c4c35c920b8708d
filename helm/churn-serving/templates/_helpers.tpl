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

{{/*
The image, by digest if one is set. After the first installation, churn_deploy and churn_rollback own it: an upgrade that asked
for the values' image again would change the model.
*/}}
{{- define "churn-serving.image" -}}
{{- $live := include "churn-serving.live" . | fromJson -}}
{{- if $live.image -}}
{{ $live.image }}
{{- else if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
{{- end }}

{{/* The image, its provenance and the model version that a DAG or a release has deployed, as JSON; without values if there is none. */}}
{{- define "churn-serving.live" -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "churn-serving.name" .) -}}
{{- $annotations := dig "spec" "template" "metadata" "annotations" dict ($live | default dict) -}}
{{- $version := index $annotations "churnflow/model-version" -}}
{{- if and .Values.image.keepDeployed $version -}}
{{- $container := index $live.spec.template.spec.containers 0 -}}
{{ dict "image" $container.image "version" $version "statement" (index $annotations "churnflow/provenance") | toJson }}
{{- else -}}
{{ dict | toJson }}
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
