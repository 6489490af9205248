{{/* Name of the chart in labels. */}}
{{- define "liveshop.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the resources. A pod adds -0, a job -topics: 52 characters leave room for both. */}}
{{- define "liveshop.fullname" -}}
{{- $name := include "liveshop.name" . -}}
{{- $whole := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $whole | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "liveshop.selector" -}}
app.kubernetes.io/name: {{ include "liveshop.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "liveshop.labels" -}}
{{ include "liveshop.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "liveshop.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "liveshop.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "liveshop.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* A value as liveshop reads it. Whole numbers come as floats, which would be written 1.048576e+06. */}}
{{- define "liveshop.text" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- . | int64 -}}
{{- else -}}
{{- . | toString -}}
{{- end -}}
{{- end -}}

{{/* Settings that are no secrets, as a map of environment variables. */}}
{{- define "liveshop.settings" -}}
LIVESHOP_BROKERS: {{ join "," .Values.kafka.brokers | quote }}
LIVESHOP_HTTP_PORT: "9464"
{{- range $name, $value := .Values.config }}
LIVESHOP_{{ upper $name }}: {{ include "liveshop.text" $value | quote }}
{{- end }}
{{- with .Values.kafka.tls }}
{{- if .enabled }}
LIVESHOP_SECURITY_PROTOCOL: {{ ternary "sasl_ssl" "ssl" (ne $.Values.kafka.sasl.mechanism "") }}
LIVESHOP_TLS_CHECK_HOSTNAME: {{ ternary "yes" "no" .checkHostname | quote }}
{{- if .existingSecret }}
{{- range $setting, $key := dict "CA" .caKey "CERT" .certKey "KEY" .keyKey }}
{{- if $key }}
LIVESHOP_TLS_{{ $setting }}_FILE: /etc/liveshop/tls/{{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- else if $.Values.kafka.sasl.mechanism }}
LIVESHOP_SECURITY_PROTOCOL: sasl_plaintext
{{- end }}
{{- end }}
{{- with .Values.kafka.sasl }}
{{- if .mechanism }}
LIVESHOP_SASL_MECHANISM: {{ .mechanism }}
{{- if ne .mechanism "OAUTHBEARER" }}
LIVESHOP_SASL_USERNAME: {{ .username | quote }}
LIVESHOP_SASL_PASSWORD_FILE: /etc/liveshop/sasl/{{ .passwordKey }}
{{- else if .oauth.serviceAccountAudience }}
LIVESHOP_SASL_TOKEN_FILE: /etc/liveshop/token/kafka
{{- else }}
LIVESHOP_SASL_TOKEN_URL: {{ .oauth.tokenUrl | quote }}
LIVESHOP_SASL_CLIENT_ID: {{ .oauth.clientId | quote }}
LIVESHOP_SASL_SECRET_FILE: /etc/liveshop/sasl/{{ .oauth.clientSecretKey }}
{{- with .oauth.scope }}
LIVESHOP_SASL_SCOPE: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Secrets as files, with the Secret of kafka.sasl or another one: dict "root" $ "secret" NAME. */}}
{{- define "liveshop.secretMounts" -}}
{{- if and .root.Values.kafka.tls.enabled .root.Values.kafka.tls.existingSecret }}
- {name: tls, mountPath: /etc/liveshop/tls, readOnly: true}
{{- end }}
{{- if and .root.Values.kafka.sasl.mechanism .secret }}
- {name: sasl, mountPath: /etc/liveshop/sasl, readOnly: true}
{{- end }}
{{- if .root.Values.kafka.sasl.oauth.serviceAccountAudience }}
- {name: token, mountPath: /etc/liveshop/token, readOnly: true}
{{- end }}
{{- end -}}

{{- define "liveshop.secretVolumes" -}}
{{- if and .root.Values.kafka.tls.enabled .root.Values.kafka.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ .root.Values.kafka.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if and .root.Values.kafka.sasl.mechanism .secret }}
- name: sasl
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
{{- end }}
{{- with .root.Values.kafka.sasl.oauth }}
{{- if .serviceAccountAudience }}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: kafka
          audience: {{ .serviceAccountAudience | quote }}
          expirationSeconds: {{ .serviceAccountExpiration | int64 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Mistakes that a schema cannot see, all at once. */}}
{{- define "liveshop.check" -}}
{{- $wrong := list -}}
{{- $partitions := .Values.topics.partitions | int -}}
{{- $workers := .Values.workers.replicas | int -}}
{{- $most := .Values.keda.maxReplicas | default $partitions | int -}}
{{- if not .Values.kafka.brokers -}}
{{- $wrong = append $wrong "kafka.brokers is needed: --set 'kafka.brokers={kafka-1:9092,kafka-2:9092}'" -}}
{{- end -}}
{{- if and (gt $workers $partitions) (not .Values.keda.enabled) -}}
{{- $wrong = append $wrong (printf "workers.replicas is %d, but with topics.partitions %d at most %d can have work" $workers $partitions $partitions) -}}
{{- end -}}
{{- if and .Values.keda.enabled (gt $most $partitions) -}}
{{- $wrong = append $wrong (printf "keda.maxReplicas is %d, but with topics.partitions %d at most %d can have work" $most $partitions $partitions) -}}
{{- end -}}
{{- if and .Values.keda.enabled (gt (.Values.keda.minReplicas | int) $most) -}}
{{- $wrong = append $wrong "keda.minReplicas is more than keda.maxReplicas" -}}
{{- end -}}
{{- with .Values.kafka.sasl -}}
{{- if and .mechanism (ne .mechanism "OAUTHBEARER") (not (and .username .existingSecret)) -}}
{{- $wrong = append $wrong (printf "kafka.sasl.mechanism %s needs kafka.sasl.username and kafka.sasl.existingSecret" .mechanism) -}}
{{- end -}}
{{- if and (eq .mechanism "OAUTHBEARER") (not .oauth.serviceAccountAudience) (not (and .oauth.tokenUrl .oauth.clientId .existingSecret)) -}}
{{- $wrong = append $wrong "kafka.sasl.mechanism OAUTHBEARER needs kafka.sasl.oauth.serviceAccountAudience, or tokenUrl and clientId there and kafka.sasl.existingSecret" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.scrapeAnnotations -}}
{{- $wrong = append $wrong "monitoring.podMonitor.enabled and monitoring.scrapeAnnotations: one Prometheus would count everything twice; choose one" -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n  - %s" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end -}}
