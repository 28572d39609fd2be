{{/* Generated from operator/inference_fleet/controller/permissions.py by `make generate`; do not edit. */}}
{{- define "inference-fleet.rules.everywhere" -}}
# what users want; patch: spec.replicas, once, where Manual or External leave it out
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments]
  verbs: [list, watch, patch]
# what became of it
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments/status]
  verbs: [patch]
# owner references with blockOwnerDeletion, where the API server checks them
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments/finalizers]
  verbs: [update]
# what devices there are
- apiGroups: ["inferencefleet.io"]
  resources: [acceleratorclasses]
  verbs: [list, watch]
# labels, for an AcceleratorClass that is only for some namespaces
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
# one for each pool of replicas; patch: their count
- apiGroups: ["apps"]
  resources: [replicasets]
  verbs: [list, watch, get, create, patch, delete]
# readiness; patch: out of the endpoints and who goes first; delete: a pod that never served
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch, delete]
# records of accepted specs
- apiGroups: ["apps"]
  resources: [controllerrevisions]
  verbs: [list, watch, get, create, delete]
# how callers reach the engines
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, get, create, patch]
# the engines' identity, without a token
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [list, watch, get, create, patch]
# one replica at a time when nodes are drained
- apiGroups: ["policy"]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, get, create, patch]
# who may talk to the engines
- apiGroups: ["networking.k8s.io"]
  resources: [networkpolicies]
  verbs: [list, watch, get, create, patch, delete]
# what the scaler has learned; list: after a restart
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, patch]
# events on InferenceDeployments
- apiGroups: ["events.k8s.io"]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "inference-fleet.rules.ofTheCluster" -}}
# what devices there are
- apiGroups: ["inferencefleet.io"]
  resources: [acceleratorclasses]
  verbs: [list, watch]
# labels of the namespaces that are listed
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{- define "inference-fleet.rules.ofNamespaces" -}}
# what users want; patch: spec.replicas, once, where Manual or External leave it out
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments]
  verbs: [list, watch, patch]
# what became of it
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments/status]
  verbs: [patch]
# owner references with blockOwnerDeletion, where the API server checks them
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments/finalizers]
  verbs: [update]
# one for each pool of replicas; patch: their count
- apiGroups: ["apps"]
  resources: [replicasets]
  verbs: [list, watch, get, create, patch, delete]
# readiness; patch: out of the endpoints and who goes first; delete: a pod that never served
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch, delete]
# records of accepted specs
- apiGroups: ["apps"]
  resources: [controllerrevisions]
  verbs: [list, watch, get, create, delete]
# how callers reach the engines
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, get, create, patch]
# the engines' identity, without a token
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [list, watch, get, create, patch]
# one replica at a time when nodes are drained
- apiGroups: ["policy"]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, get, create, patch]
# who may talk to the engines
- apiGroups: ["networking.k8s.io"]
  resources: [networkpolicies]
  verbs: [list, watch, get, create, patch, delete]
# what the scaler has learned; list: after a restart
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, patch]
# events on InferenceDeployments
- apiGroups: ["events.k8s.io"]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "inference-fleet.rules.ofOwnNamespace" -}}
# one operator writes at a time
- apiGroups: ["coordination.k8s.io"]
  resources: [leases]
  verbs: [get, create, update]
{{- end }}

{{- define "inference-fleet.rules.view" -}}
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments, acceleratorclasses]
  verbs: [get, list, watch]
{{- end }}

{{- define "inference-fleet.rules.edit" -}}
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments]
  verbs: [create, update, patch, delete, deletecollection]
- apiGroups: ["inferencefleet.io"]
  resources: [inferencedeployments/scale]
  verbs: [get, update, patch]
{{- end }}
