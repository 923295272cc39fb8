/** Roles, bindings and admission policies to the model. The schema has passed. */
import type {
  PolicyRule,
  RbacSubject,
  Role,
  RoleBinding,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
} from '../model/rbac.ts';
import { convertLabelSelector, type RawLabelSelector } from './convert-kubernetes.ts';
import type { ObjectContext } from './object.ts';
import { listOf, type Opt, objectMeta, type RawObject } from './raw.ts';

export interface RawRule {
  readonly verbs?: Opt<readonly string[]>;
  readonly apiGroups?: Opt<readonly string[]>;
  readonly resources?: Opt<readonly string[]>;
  readonly resourceNames?: Opt<readonly string[]>;
  readonly nonResourceURLs?: Opt<readonly string[]>;
}

export interface RawRole extends RawObject {
  readonly rules?: Opt<readonly RawRule[]>;
  readonly aggregationRule?: Opt<{ readonly clusterRoleSelectors?: Opt<readonly RawLabelSelector[]> }>;
}

export interface RawSubject {
  readonly apiGroup?: Opt<string>;
  readonly kind?: Opt<string>;
  readonly name?: Opt<string>;
  readonly namespace?: Opt<string>;
}

export interface RawBinding extends RawObject {
  readonly roleRef?: Opt<{
    readonly apiGroup?: Opt<string>;
    readonly kind?: Opt<string>;
    readonly name?: Opt<string>;
  }>;
  readonly subjects?: Opt<readonly RawSubject[]>;
}

export function convertRole(raw: RawRole, context: ObjectContext): Role {
  const { aggregationRule } = raw;
  return {
    kind: context.id.kind === 'Role' ? 'Role' : 'ClusterRole',
    meta: objectMeta(raw.metadata, context),
    rules: listOf(raw.rules).map((rule, index) => convertRule(rule, index, context)),
    aggregation: aggregationRule
      ? listOf(aggregationRule.clusterRoleSelectors).flatMap((selector) => convertLabelSelector(selector) ?? [])
      : undefined,
  };
}

/** The place is looked up when somebody asks for it: a big cluster has many rules, and an answer names few. */
function convertRule(raw: RawRule, index: number, context: ObjectContext): PolicyRule {
  return {
    verbs: listOf(raw.verbs),
    apiGroups: listOf(raw.apiGroups),
    resources: listOf(raw.resources),
    resourceNames: listOf(raw.resourceNames),
    nonResourceURLs: listOf(raw.nonResourceURLs),
    get origin() {
      return context.origin(['rules', index]);
    },
  };
}

export function convertBinding(raw: RawBinding, context: ObjectContext): RoleBinding {
  return {
    kind: context.id.kind === 'RoleBinding' ? 'RoleBinding' : 'ClusterRoleBinding',
    meta: objectMeta(raw.metadata, context),
    roleKind: raw.roleRef?.kind === 'Role' ? 'Role' : 'ClusterRole',
    roleName: raw.roleRef?.name ?? '',
    subjects: listOf(raw.subjects).map((subject) => convertSubject(subject, context)),
  };
}

/** An account without namespace is one of the binding's own; in a ClusterRoleBinding it is nobody. */
function convertSubject(raw: RawSubject, context: ObjectContext): RbacSubject {
  const kind = raw.kind === 'User' || raw.kind === 'Group' ? raw.kind : 'ServiceAccount';
  return {
    kind,
    name: raw.name ?? '',
    namespace: kind === 'ServiceAccount' ? raw.namespace || context.id.namespace : '',
  };
}

interface RawResourceRule {
  readonly apiGroups?: Opt<readonly string[]>;
  readonly operations?: Opt<readonly string[]>;
  readonly resources?: Opt<readonly string[]>;
  readonly resourceNames?: Opt<readonly string[]>;
  readonly scope?: Opt<string>;
}

interface RawMatchResources {
  readonly resourceRules?: Opt<readonly RawResourceRule[]>;
  readonly excludeResourceRules?: Opt<readonly RawResourceRule[]>;
  readonly namespaceSelector?: Opt<RawLabelSelector>;
  readonly objectSelector?: Opt<RawLabelSelector>;
}

export interface RawAdmissionPolicy extends RawObject {
  readonly spec?: Opt<{
    readonly failurePolicy?: Opt<string>;
    readonly matchConstraints?: Opt<RawMatchResources>;
    readonly matchConditions?: Opt<readonly unknown[]>;
    readonly validations?: Opt<readonly { readonly expression?: Opt<string> }[]>;
  }>;
}

export interface RawAdmissionBinding extends RawObject {
  readonly spec?: Opt<{
    readonly policyName?: Opt<string>;
    readonly validationActions?: Opt<readonly string[]>;
    readonly matchResources?: Opt<RawMatchResources>;
  }>;
}

export function convertAdmissionPolicy(raw: RawAdmissionPolicy, context: ObjectContext): ValidatingAdmissionPolicy {
  const spec = raw.spec ?? {};
  return {
    kind: 'ValidatingAdmissionPolicy',
    meta: objectMeta(raw.metadata, context),
    failurePolicy: spec.failurePolicy || 'Fail',
    resourceRules: listOf(spec.matchConstraints?.resourceRules).map((rule) => ({
      apiGroups: listOf(rule.apiGroups),
      operations: listOf(rule.operations),
      resources: listOf(rule.resources),
    })),
    validations: listOf(spec.validations).map((validation, index) => ({
      expression: validation.expression ?? '',
      origin: context.origin(['spec', 'validations', index]),
    })),
    isConditional: listOf(spec.matchConditions).length > 0 || isNarrowed(spec.matchConstraints),
  };
}

/** Looks at fewer objects than its resource rules name. */
function isNarrowed(raw: Opt<RawMatchResources>): boolean {
  if (!raw) return false;
  const selectors = [raw.namespaceSelector, raw.objectSelector].flatMap((each) => convertLabelSelector(each) ?? []);
  const isSelective = selectors.some((each) => each.matchLabels.size > 0 || each.matchExpressions.length > 0);
  const hasNames = listOf(raw.resourceRules).some((rule) => listOf(rule.resourceNames).length > 0);
  return isSelective || hasNames || listOf(raw.excludeResourceRules).length > 0;
}

export function convertAdmissionBinding(
  raw: RawAdmissionBinding,
  context: ObjectContext,
): ValidatingAdmissionPolicyBinding {
  const spec = raw.spec ?? {};
  return {
    kind: 'ValidatingAdmissionPolicyBinding',
    meta: objectMeta(raw.metadata, context),
    policyName: spec.policyName ?? '',
    validationActions: listOf(spec.validationActions),
    isConditional: isNarrowed(spec.matchResources) || listOf(spec.matchResources?.resourceRules).length > 0,
  };
}
