/**
 * Calico's own rule for policies in tiers, on top of RBAC.
 *
 * Whoever does anything to a policy in tier T through Calico's API needs two things:
 *
 *   1. `get` on tiers named T, and
 *   2. the verb on `tier.networkpolicies` (or `tier.globalnetworkpolicies`, or the staged forms) of projectcalico.org, in
 *      the policy's namespace, under the policy's own name, its name with the tier before it (`T.name`), or `T.*`.
 *
 * `T.*` is a name that is compared letter by letter, not a pattern: only a role that lists it allows every policy of T.
 * A role without resourceNames allows all names. Rights on the plain `networkpolicies` of projectcalico.org are not looked
 * at here; objects written past Calico's API, as crd.projectcalico.org, do not meet this rule at all.
 * Source: Calico apiserver/pkg/rbac/rbac.go (AuthorizeTierOperation).
 */
import { authorize, type Decision } from './authorize.ts';
import type { RbacIndex } from './rbac-index.ts';
import type { AccessRequest } from './rule-match.ts';

const CALICO_GROUP = 'projectcalico.org';

/** Both answers; allowed only if both are. */
export interface TierDecision {
  readonly allowed: boolean;
  readonly getTier: Decision;
  readonly policy: Decision;
}

/** `request` is for the policy (`networkpolicies` and the like, with or without the prefix `tier.`). */
export function authorizeInTier(index: RbacIndex, request: AccessRequest, tier: string): TierDecision {
  const getTier = authorize(index, {
    ...request,
    verb: 'get',
    apiGroup: CALICO_GROUP,
    resource: 'tiers',
    subresource: '',
    name: tier,
    namespace: '',
  });
  const resource = request.resource.startsWith('tier.') ? request.resource : `tier.${request.resource}`;
  let policy: Decision = { allowed: false };
  for (const name of tierNames(tier, request.name)) {
    policy = authorize(index, { ...request, apiGroup: CALICO_GROUP, resource, name });
    if (policy.allowed) break;
  }
  return { allowed: getTier.allowed && policy.allowed, getTier, policy };
}

/** The names under which a policy of `tier` may be allowed. */
export function tierNames(tier: string, policy: string): readonly string[] {
  const any = `${tier}.*`;
  if (policy === '') return ['', any];
  return policy.startsWith(`${tier}.`) ? [policy, any] : [policy, `${tier}.${policy}`, any];
}
