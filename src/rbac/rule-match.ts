/**
 * Whether one rule of a role allows one request.
 *
 * A request is for a resource (verb, API group, resource, perhaps a subresource, a name, a namespace) or for a path. A rule
 * allows it if every part of the rule has an entry that fits:
 *
 *   part            fits
 *   verbs           the verb, or `*`
 *   apiGroups       the group (`''` = core), or `*`
 *   resources       `*`; the resource and subresource as one word (`pods/exec`); with a subresource also `*` + `/exec`.
 *                   `pods` does not fit `pods/exec`, and `pods` + `/*` is not a pattern at all: it fits nothing
 *   resourceNames   none given = any; else exactly the name, so a request without a name (list, create) is not allowed
 *   nonResourceURLs `*`; the path; a path that ends in `*` fits all that begin with what is before it
 *
 * The namespace plays no part here: it decides which bindings are looked at (`authorize.ts`).
 * Source: kubernetes pkg/apis/rbac/v1/evaluation_helpers.go, plugin/pkg/auth/authorizer/rbac/rbac.go (RuleAllows).
 */
import type { PolicyRule } from '../model/rbac.ts';

/** Who asks, and for what. `path` !== undefined: a request for a path, whose resource parts are not looked at. */
export interface AccessRequest {
  readonly user: string;
  readonly groups: readonly string[];
  readonly verb: string;
  readonly apiGroup: string;
  /** Without its subresource. */
  readonly resource: string;
  /** `''` = the resource itself. */
  readonly subresource: string;
  /** `''` = no name in the request. */
  readonly name: string;
  /** `''` = the whole cluster, or a resource that has no namespace. */
  readonly namespace: string;
  readonly path?: string | undefined;
}

/** The part of a request that rules look at. */
export type Access = Omit<AccessRequest, 'user' | 'groups' | 'namespace'>;

export function ruleAllows(rule: PolicyRule, access: Access): boolean {
  if (!includesOrAll(rule.verbs, access.verb)) return false;
  if (access.path !== undefined) return rule.nonResourceURLs.some((url) => fitsPath(url, access.path!));
  return (
    includesOrAll(rule.apiGroups, access.apiGroup) &&
    rule.resources.some((resource) => fitsResource(resource, access.resource, access.subresource)) &&
    (rule.resourceNames.length === 0 || rule.resourceNames.includes(access.name))
  );
}

/**
 * The first of `verbs` that the rule allows on a resource, whatever the name: `rule.resourceNames` are the names it allows,
 * or none = all. `undefined` = none of them.
 */
export function allowedVerb(
  rule: PolicyRule,
  verbs: readonly string[],
  apiGroup: string,
  resource: string,
  subresource: string,
): string | undefined {
  if (!rule.resources.some((each) => fitsResource(each, resource, subresource))) return undefined;
  if (!includesOrAll(rule.apiGroups, apiGroup)) return undefined;
  return verbs.find((verb) => includesOrAll(rule.verbs, verb));
}

/** `pods/exec` to its resource and subresource; `''` without one. */
export function splitResource(text: string): readonly [resource: string, subresource: string] {
  const slash = text.indexOf('/');
  return slash < 0 ? [text, ''] : [text.slice(0, slash), text.slice(slash + 1)];
}

function includesOrAll(list: readonly string[], word: string): boolean {
  return list.includes('*') || list.includes(word);
}

/** All that a rule can write under `resources` to fit a resource: see `fitsResource`. */
export function patternsFor(resource: string, subresource: string): readonly string[] {
  return subresource === '' ? ['*', resource] : ['*', `${resource}/${subresource}`, `*/${subresource}`];
}

function fitsResource(pattern: string, resource: string, subresource: string): boolean {
  if (pattern === '*') return true;
  if (subresource === '') return pattern === resource;
  return pattern === `${resource}/${subresource}` || pattern === `*/${subresource}`;
}

function fitsPath(pattern: string, path: string): boolean {
  if (pattern === '*' || pattern === path) return true;
  return pattern.endsWith('*') && path.startsWith(pattern.replace(/\*+$/, ''));
}
