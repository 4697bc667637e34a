{{- define "herald.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := .Values.nameOverride | default "herald" -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "herald.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "herald.helloKeySecret" -}}
{{- .Values.helloKeySecret | default (printf "%s-hello-key" (include "herald.fullname" .)) -}}
{{- end -}}

{{- define "herald.controller.serviceAccount" -}}
{{- .Values.controller.serviceAccount.name | default (printf "%s-controller" (include "herald.fullname" .)) -}}
{{- end -}}

{{- define "herald.speaker.serviceAccount" -}}
{{- .Values.speaker.serviceAccount.name | default (printf "%s-speaker" (include "herald.fullname" .)) -}}
{{- end -}}

{{- /* On every object. */ -}}
{{- define "herald.labels" -}}
app.kubernetes.io/name: herald
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /*
Immutable in a Deployment or DaemonSet: never change them. The name is not MetalLB's (app=metallb, app.kubernetes.io/name=metallb),
by which Herald finds a running MetalLB and stays in standby.
*/ -}}
{{- define "herald.controller.selector" -}}
app.kubernetes.io/name: herald
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "herald.speaker.selector" -}}
app.kubernetes.io/name: herald
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: speaker
{{- end -}}

{{- /* Labels of the user (labels: as in MetalLB's chart, also on the Deployment or DaemonSet). */ -}}
{{- define "herald.podLabels" -}}
{{- include "herald.checkPodLabels" (dict "labels" .labels "of" .component "key" "labels") -}}
{{- include "herald.checkPodLabels" (dict "labels" .podLabels "of" .component "key" "podLabels") -}}
{{- with merge (deepCopy .podLabels) .labels -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- /* Pod labels of the user may not take Herald's own, nor make its pods look like MetalLB's. */ -}}
{{- define "herald.checkPodLabels" -}}
{{- range $key := list "app" "component" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- if hasKey $.labels $key -}}
{{- fail (printf "%s.%s may not set %q: Herald and the tools around it find its pods by that label" $.of $.key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
glibc's allocator keeps an arena for every thread and what a long list once needed. One arena, and large blocks given back at once, save
several MiB of resident memory on every node with a thousand Services; nothing here allocates much in parallel.
*/ -}}
{{- define "herald.memoryEnv" -}}
- name: MALLOC_ARENA_MAX
  value: "1"
- name: MALLOC_MMAP_THRESHOLD_
  value: "65536"
- name: MALLOC_TRIM_THRESHOLD_
  value: "131072"
{{- end -}}

{{- /* Of a component: its own metricsPort, else the one for both. 0: none. */ -}}
{{- define "herald.metricsPort" -}}
{{- if kindIs "invalid" .of.metricsPort -}}{{ .root.Values.prometheus.metricsPort }}{{- else -}}{{ .of.metricsPort }}{{- end -}}
{{- end -}}

{{- /* MetalLB's names of the port: scrape configurations look for them. */ -}}
{{- define "herald.metricsPortName" -}}
{{- if .Values.prometheus.metricsHttp -}}metrics{{- else -}}metricshttps{{- end -}}
{{- end -}}

{{- define "herald.metricsArgs" -}}
- --metrics-port={{ include "herald.metricsPort" . }}
{{- if .root.Values.prometheus.metricsHttp }}
- --metrics-http
{{- else if .secret }}
- --metrics-cert-dir=/etc/herald/metrics
{{- end }}
- --debug-port={{ .of.debugPort }}
{{- end -}}

{{- define "herald.tlsArgs" -}}
{{- with .Values.tls.minVersion }}
- --tls-min-version={{ . }}
{{- end }}
{{- with .Values.tls.cipherSuites }}
- --tls-cipher-suites={{ . }}
{{- end }}
{{- with .Values.tls.curvePreferences }}
- --tls-curve-preferences={{ . }}
{{- end }}
{{- end -}}

{{- /*
What is mounted. `certificates`: Secrets of type kubernetes.io/tls by the folder below /etc/herald; those without a name are not there. `state`:
the values of the folder that outlives a restart of the container, if there is to be one.
*/ -}}
{{- define "herald.mounts" -}}
{{- $mounts := list -}}
{{- range $folder, $secret := .certificates -}}
{{- if $secret -}}
{{- $path := printf "/etc/herald/%s" $folder -}}
{{- $mounts = append $mounts (dict "name" (printf "%s-certificate" $folder) "mountPath" $path "readOnly" true) -}}
{{- end -}}
{{- end -}}
{{- if dig "enabled" false (.state | default dict) -}}
{{- $mounts = append $mounts (dict "name" "state" "mountPath" "/var/lib/herald") -}}
{{- end -}}
{{- with $mounts -}}
volumeMounts:
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "herald.volumes" -}}
{{- $volumes := list -}}
{{- range $folder, $secret := .certificates -}}
{{- if $secret -}}
{{- $volumes = append $volumes (dict "name" (printf "%s-certificate" $folder) "secret" (dict "secretName" $secret)) -}}
{{- end -}}
{{- end -}}
{{- if dig "enabled" false (.state | default dict) -}}
{{- $volumes = append $volumes (dict "name" "state" "emptyDir" (dict "medium" .state.medium "sizeLimit" .state.sizeLimit)) -}}
{{- end -}}
{{- with $volumes -}}
volumes:
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- /* The settings of a probe that the user may change, or nothing when it is off. */ -}}
{{- define "herald.probe" -}}
{{- toYaml (omit . "enabled") -}}
{{- end -}}

{{- /* Whether the controller answers the webhook: yes or nothing. */ -}}
{{- define "herald.webhook" -}}
{{- if and .Values.controller.enabled (ne .Values.controller.webhookMode "disabled") -}}yes{{- end -}}
{{- end -}}

{{- define "herald.webhookSecret" -}}
{{- printf "%s-webhook-cert" (include "herald.fullname" .) -}}
{{- end -}}

{{- define "herald.podAnnotations" -}}
{{- $port := include "herald.metricsPort" . | int -}}
{{- $annotations := dict -}}
{{- if and .root.Values.prometheus.scrapeAnnotations $port -}}
{{- $scheme := ternary "http" "https" .root.Values.prometheus.metricsHttp -}}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString $port) "prometheus.io/scheme" $scheme -}}
{{- end -}}
{{- with merge (deepCopy .of.podAnnotations) $annotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "herald.alertLabels" -}}
{{- with . -}}
labels:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "herald.excludePools" -}}
{{- with . -}}{{ printf "{pool!~%s}" (quote .) }}{{- end -}}
{{- end -}}
