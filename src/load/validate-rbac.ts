/**
 * Checks of roles and bindings: what the API server refuses.
 *
 * References to roles that are not there are no error of the object: a binding may be made before its role. They are
 * reported by `rbac`, which knows all roles.
 * Source: kubernetes pkg/apis/rbac/validation/validation.go.
 */
import { quoteText } from '../base/errors.ts';
import type { RawBinding, RawRole, RawRule, RawSubject } from './convert-rbac.ts';
import { labelProblem, subdomainProblem } from './names.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import { listOf, type Opt, type RawObject } from './raw.ts';
import { checkLabelSelector } from './validate-kubernetes.ts';
import { checkMeta, subdomainName } from './validate-meta.ts';

const RBAC_GROUP = 'rbac.authorization.k8s.io';

/** Roles and bindings may be called anything that can stand between two slashes of a path. */
function pathSegmentProblem(name: string): string | undefined {
  if (name === '.' || name === '..') return 'a step of a path';
  return /[/%]/.test(name) ? "with a '/' or '%'" : undefined;
}

export function checkRole(raw: RawRole, context: ObjectContext): void {
  const isNamespaced = context.id.kind === 'Role';
  checkMeta(raw, isNamespaced, pathSegmentProblem, context);
  for (const [index, rule] of listOf(raw.rules).entries()) checkRule(rule, isNamespaced, ['rules', index], context);
  if (!raw.aggregationRule) return;
  const path = ['aggregationRule', 'clusterRoleSelectors'];
  const selectors = listOf(raw.aggregationRule.clusterRoleSelectors);
  if (selectors.length === 0) {
    context.refuse(path, 'no selector of roles to collect', 'add a selector', 'the role collects nothing');
  }
  for (const [index, selector] of selectors.entries()) checkLabelSelector(selector, [...path, index], context);
}

function checkRule(rule: RawRule, isNamespaced: boolean, path: FieldPath, context: ObjectContext): void {
  const refuse = (field: string, message: string, fix: string): void =>
    context.refuse([...path, field], message, fix, 'the rule allows only what it can match');
  if (listOf(rule.verbs).length === 0) refuse('verbs', 'a rule without verbs', 'add the verbs');
  if (listOf(rule.nonResourceURLs).length > 0) {
    if (isNamespaced) refuse('nonResourceURLs', 'a Role cannot allow URLs', 'use a ClusterRole');
    const others = [rule.apiGroups, rule.resources, rule.resourceNames];
    if (others.some((list) => listOf(list).length > 0)) {
      refuse('nonResourceURLs', 'one rule for resources and URLs', 'make two rules of it');
    }
    return;
  }
  if (listOf(rule.apiGroups).length === 0) {
    refuse('apiGroups', 'a rule without API groups', "add them; the core group is ''");
  }
  if (listOf(rule.resources).length === 0) refuse('resources', 'a rule without resources', 'add the resources');
}

export function checkBinding(raw: RawBinding, context: ObjectContext): void {
  const isNamespaced = context.id.kind === 'RoleBinding';
  checkMeta(raw, isNamespaced, pathSegmentProblem, context);
  checkRoleRef(raw, isNamespaced, context);
  for (const [index, subject] of listOf(raw.subjects).entries()) {
    checkSubject(subject, isNamespaced, ['subjects', index], context);
  }
}

function checkRoleRef({ roleRef }: RawBinding, isNamespaced: boolean, context: ObjectContext): void {
  const { apiGroup, kind, name } = roleRef ?? {};
  checkGroup(apiGroup, RBAC_GROUP, ['roleRef', 'apiGroup'], context);
  const kinds = isNamespaced ? ['Role', 'ClusterRole'] : ['ClusterRole'];
  if (!kinds.includes(kind ?? '')) {
    const message = `${quoteText(kind ?? '')} is not a kind of role that ${context.id.kind} can name`;
    context.error(['roleRef', 'kind'], message, `use ${kinds.join(' or ')}`);
  }
  const problem = name ? pathSegmentProblem(name) : 'empty';
  if (problem !== undefined) {
    context.error(['roleRef', 'name'], `name ${quoteText(name ?? '')} is ${problem}`, 'name the role');
  }
}

function checkGroup(group: Opt<string>, expected: string, path: FieldPath, context: ObjectContext): void {
  if ((group ?? '') === '' || group === expected) return;
  context.error(path, `${quoteText(group ?? '')} is not the API group`, `use '${expected}'`);
}

function checkSubject(subject: RawSubject, isNamespaced: boolean, path: FieldPath, context: ObjectContext): void {
  const name = subject.name ?? '';
  if (name === '') context.error([...path, 'name'], 'a subject without name', 'add the name');
  switch (subject.kind) {
    case 'User':
    case 'Group':
      checkGroup(subject.apiGroup, RBAC_GROUP, [...path, 'apiGroup'], context);
      break;
    case 'ServiceAccount':
      checkGroup(subject.apiGroup, '', [...path, 'apiGroup'], context);
      checkAccount(name, subject.namespace ?? '', isNamespaced, path, context);
      break;
    default: {
      const message = `${quoteText(subject.kind ?? '')} is not a kind of subject`;
      context.error([...path, 'kind'], message, 'use User, Group or ServiceAccount');
    }
  }
}

function checkAccount(
  name: string,
  namespace: string,
  isNamespaced: boolean,
  path: FieldPath,
  context: ObjectContext,
): void {
  const problem = name === '' ? undefined : subdomainProblem(name);
  if (problem !== undefined) context.error([...path, 'name'], `name ${quoteText(name)} is ${problem}`, 'correct it');
  if (namespace === '' && !isNamespaced) {
    context.error([...path, 'namespace'], 'an account without namespace', 'add the namespace of the account');
  }
  const fault = namespace === '' ? undefined : labelProblem(namespace);
  if (fault !== undefined) {
    context.error([...path, 'namespace'], `name ${quoteText(namespace)} is ${fault}`, 'correct it');
  }
}

/** Only names: what an admission policy says in CEL is for `rbac` to recognise, or to leave aside with a word. */
export function checkAdmission(raw: RawObject, context: ObjectContext): void {
  checkMeta(raw, false, subdomainName, context);
}
