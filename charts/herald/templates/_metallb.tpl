{{- /*
Values of MetalLB's chart that mean nothing here: where ignoring them would do something else than their user wants, installing fails and
says what to do. The harmless ones are in values.schema.json alone; docs/chart-values.md has the list.
*/ -}}
{{- define "herald.checkValues" -}}
{{- range $component := list "controller" "speaker" -}}
{{- $values := index $.Values $component -}}
{{- range $field := list "repository" "tag" "pullPolicy" -}}
{{- if dig "image" $field "" $values -}}
{{- fail (printf "%s.image.%s: controller and speakers are one image here: set image.%s" $component $field $field) -}}
{{- end -}}
{{- end -}}
{{- if $values.command -}}
{{- fail (printf "%s.command: the image has one program, which the chart calls: remove the value" $component) -}}
{{- end -}}
{{- end -}}
{{- if dig "frr" "enabled" false .Values.speaker -}}
{{- fail "speaker.frr.enabled: there is no FRR in Herald's pods: remove the value, or stay with MetalLB where you need FRR" -}}
{{- end -}}
{{- if dig "external" false (.Values.frrk8s | default dict) -}}
{{- fail "frrk8s.external: Herald writes no FRRConfiguration objects: remove the value, or stay with MetalLB where you need frr-k8s" -}}
{{- end -}}
{{- range $secret := list "controllerMetricsTLSSecret" "speakerMetricsTLSSecret" -}}
{{- if index $.Values.prometheus $secret -}}
{{- fail (printf "prometheus.%s: the value is called tls.%s, as in MetalLB from 0.16 on" $secret $secret) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.controller.webhookMode "onlywebhook") .Values.speaker.enabled -}}
{{- fail "controller.webhookMode=onlywebhook gives no addresses, so speakers beside it have nothing to announce: set speaker.enabled=false as well, or webhookMode=enabled" -}}
{{- end -}}
{{- end -}}
