import { formatProblem, type LoadOptions, type LoadResult, loadResources } from '../../src/load/load.ts';

/** Loads one text that goes by the name `t.yaml`. */
export function load(text: string, options: LoadOptions = {}): LoadResult {
  return loadResources([{ name: 't.yaml', text }], options);
}

/** The lines of all errors of a text. */
export function errorsOf(text: string, options: LoadOptions = {}): string[] {
  return load(text, options).errors.map(formatProblem);
}

/** The lines of all warnings of a text that has no error; objects that only surround the point are left out. */
export function warningsOf(text: string, options: LoadOptions = {}): string[] {
  const { errors, warnings } = load(text, options);
  if (errors.length > 0) throw new Error(`unexpected errors:\n${errors.map(formatProblem).join('\n')}`);
  return warnings.filter(({ message }) => !message.includes('is taken to exist')).map(formatProblem);
}

/** A Calico NetworkPolicy `app/p` whose spec is given, as YAML of one line: all its fields are on line 1. */
export function policy(spec: object, kind = 'NetworkPolicy'): string {
  const namespace = kind.includes('Global') ? {} : { namespace: 'app' };
  return JSON.stringify({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name: 'p', ...namespace }, spec });
}

/** A policy with one ingress rule, of action Allow unless it says otherwise. */
export function ingressRule(rule: object, kind = 'NetworkPolicy'): string {
  return policy({ ingress: [{ action: 'Allow', ...rule }] }, kind);
}

/** A policy with one egress rule. */
export function egressRule(rule: object, kind = 'NetworkPolicy'): string {
  return policy({ egress: [{ action: 'Allow', ...rule }] }, kind);
}

/** A Kubernetes NetworkPolicy `app/k` whose spec is given. */
export function kubernetesPolicy(spec: object): string {
  const metadata = { name: 'k', namespace: 'app' };
  return JSON.stringify({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec });
}

/** A ClusterNetworkPolicy `c` whose spec is given, on top of a valid one. */
export function clusterPolicy(spec: object): string {
  const whole = { tier: 'Admin', priority: 1, subject: { namespaces: {} }, ...spec };
  const metadata = { name: 'c' };
  const apiVersion = 'policy.networking.k8s.io/v1alpha2';
  return JSON.stringify({ apiVersion, kind: 'ClusterNetworkPolicy', metadata, spec: whole });
}

/** Any cluster-scoped Calico object `x`. */
export function calicoObject(kind: string, spec: object, metadata: object = {}): string {
  return JSON.stringify({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name: 'x', ...metadata }, spec });
}

/** `t.yaml:1: Kind name: field` before a message, for objects of one line. */
export function at(object: string, field: string): string {
  return `t.yaml:1: ${object}: ${field}`;
}
