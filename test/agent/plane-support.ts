/** What tests of the plane start it with, and what an API of Kubernetes that is played serves. */
import type { PlaneOptions } from '../../src/agent/plane-messages.ts';

export const PLANE_OPTIONS: PlaneOptions = {
  filename: [],
  recursive: false,
  strict: false,
  permissive: false,
  asIs: false,
  node: undefined,
  dataplane: 'iptables',
  kubernetes: false,
  kubeconfig: undefined,
  context: undefined,
  redis: undefined,
  cluster: 'default',
  verifyKey: undefined,
  capturePoint: 'unknown',
  firstGeneration: 1,
};

export const CALICO = '/apis/projectcalico.org/v3';
export const CRD = '/apis/crd.projectcalico.org/v1';

/** Kinds by the path of their list; `calico` is where those of Calico are. */
export function kindsUnder(calico: string): Record<string, string> {
  return {
    '/api/v1/pods': 'Pod',
    '/api/v1/serviceaccounts': 'ServiceAccount',
    '/api/v1/namespaces': 'Namespace',
    '/api/v1/nodes': 'Node',
    '/api/v1/services': 'Service',
    '/apis/discovery.k8s.io/v1/endpointslices': 'EndpointSlice',
    '/apis/networking.k8s.io/v1/networkpolicies': 'KubernetesPolicy',
    [`${calico}/networkpolicies`]: 'NetworkPolicy',
    [`${calico}/globalnetworkpolicies`]: 'GlobalNetworkPolicy',
    [`${calico}/tiers`]: 'Tier',
  };
}
