/**
 * Roles, bindings and admission policies as the user wrote them (rbac.authorization.k8s.io/v1,
 * admissionregistration.k8s.io/v1), after the API server's defaults. Reading them is the work of `rbac`.
 */
import type { LabelSelector, ObjectMeta, Origin } from './resources.ts';

/** One rule of a role. Either resources (with API groups, and names if it is limited to some) or non-resource URLs. */
export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  /** `pods`, `pods/exec`, `*`, or `*` and a subresource. */
  readonly resources: readonly string[];
  /** Empty = every name, and requests without one. */
  readonly resourceNames: readonly string[];
  readonly nonResourceURLs: readonly string[];
  readonly origin: Origin;
}

export interface Role {
  readonly kind: 'Role' | 'ClusterRole';
  readonly meta: ObjectMeta;
  readonly rules: readonly PolicyRule[];
  /** ClusterRole only: the roles whose rules it collects; `undefined` = it has rules of its own. */
  readonly aggregation: readonly LabelSelector[] | undefined;
}

export interface RbacSubject {
  readonly kind: 'User' | 'Group' | 'ServiceAccount';
  readonly name: string;
  /** Service accounts only, the binding's own where the subject names none; `''` otherwise. */
  readonly namespace: string;
}

export interface RoleBinding {
  readonly kind: 'RoleBinding' | 'ClusterRoleBinding';
  readonly meta: ObjectMeta;
  readonly roleKind: 'Role' | 'ClusterRole';
  readonly roleName: string;
  readonly subjects: readonly RbacSubject[];
}

/** Which requests an admission policy looks at. */
export interface AdmissionResourceRule {
  readonly apiGroups: readonly string[];
  readonly operations: readonly string[];
  readonly resources: readonly string[];
}

export interface AdmissionValidation {
  /** CEL; the request is refused unless it is true. */
  readonly expression: string;
  readonly origin: Origin;
}

export interface ValidatingAdmissionPolicy {
  readonly kind: 'ValidatingAdmissionPolicy';
  readonly meta: ObjectMeta;
  /** After the default: `Fail`. */
  readonly failurePolicy: string;
  readonly resourceRules: readonly AdmissionResourceRule[];
  readonly validations: readonly AdmissionValidation[];
  /** Has conditions, exclusions or selectors, by which some requests pass it by. */
  readonly isConditional: boolean;
}

export interface ValidatingAdmissionPolicyBinding {
  readonly kind: 'ValidatingAdmissionPolicyBinding';
  readonly meta: ObjectMeta;
  readonly policyName: string;
  readonly validationActions: readonly string[];
  /** Applies to some objects only. */
  readonly isConditional: boolean;
}
