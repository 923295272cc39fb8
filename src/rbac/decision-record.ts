/** Decisions as records for people and programs: what allows, and where it was written. */
import type { Role, RoleBinding } from '../model/rbac.ts';
import type { Decision } from './authorize.ts';
import type { EffectiveRule } from './effective-rules.ts';
import { type Grant, subjectKey } from './rbac-index.ts';
import type { AccessRequest } from './rule-match.ts';

export interface ObjectRecord {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly file: string;
  readonly line: number;
}

/** The rule that gives a right, and how it comes to the subject. */
export interface RuleRecord {
  /** Of the rule. */
  readonly file: string;
  readonly line: number;
  /** Position in the rules of `role`. */
  readonly index: number;
  /** The role that holds the rule. */
  readonly role: ObjectRecord;
  /** The role that the binding names, where that one collects the rule from `role`. */
  readonly via?: string;
  readonly binding: ObjectRecord;
  /** The subject of the binding: `User ann`, `Group interns`, `ServiceAccount ns/name`. */
  readonly subject: string;
}

/** The rule of an allowing decision; `undefined` for a refusal and for `system:masters`. */
export function ruleOfDecision(decision: Decision, request: AccessRequest): RuleRecord | undefined {
  if (!decision.allowed || decision.by === 'masters') return undefined;
  const keys = new Set([`User/${request.user}`, ...request.groups.map((group) => `Group/${group}`)]);
  const subject = decision.grant.binding.subjects.find((each) => keys.has(subjectKey(each)));
  return ruleRecord(decision.grant, decision.rule, subject === undefined ? '' : subjectText(subject));
}

export function ruleRecord({ binding }: Grant, { rule, role, index }: EffectiveRule, subject: string): RuleRecord {
  const isCollected = role.meta.name !== binding.roleName || role.kind !== binding.roleKind;
  return {
    ...rule.origin,
    index,
    role: objectRecord(role),
    ...(isCollected ? { via: `${binding.roleKind} ${binding.roleName}` } : {}),
    binding: objectRecord(binding),
    subject,
  };
}

function objectRecord({ kind, meta }: Role | RoleBinding): ObjectRecord {
  const { namespace, name, origin } = meta;
  return { kind, ...(namespace === '' ? {} : { namespace }), name, ...origin };
}

/** `User ann`, `Group interns`, `ServiceAccount ns/name`. */
function subjectText({ kind, namespace, name }: RoleBinding['subjects'][number]): string {
  return kind === 'ServiceAccount' ? `${kind} ${namespace}/${name}` : `${kind} ${name}`;
}

/** `RoleBinding ns/name` */
export function objectText({ kind, namespace, name }: ObjectRecord): string {
  return namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}
