/**
 * Istio's ambient mode, and the port rules that it makes meaningless.
 *
 * Between pods of an ambient mesh ztunnel carries every TCP connection in a tunnel (HBONE) to port 15008 of the destination pod. Calico
 * sees the tunnel, so a rule that names other ports never matches what the mesh carries: it neither allows nor denies it. No verdict
 * changes for that; it is what the policies say, and not what their author meant.
 *
 * A pod is part of it by the label `istio.io/dataplane-mode: ambient` of its own or of its namespace (`none` of its own takes it out),
 * or by the annotation that Istio's CNI plugin leaves on it, `ambient.istio.io/redirection: enabled`.
 */
import type { Plan, PlanPolicy, PlanRule, PlanWarning } from '../compile/plan.ts';
import { PROTOCOL_TCP } from '../model/flow.ts';
import type { Pod, Resources } from '../model/resources.ts';

export const HBONE_PORT = 15_008;

const MODE_LABEL = 'istio.io/dataplane-mode';
const REDIRECTION = 'ambient.istio.io/redirection';

/** Warnings about enforced policies, one a policy and direction; none if no pod is in ambient mode. */
export function ambientWarnings(plan: Plan, resources: Resources): PlanWarning[] {
  const groups = ambientGroups(plan, resources);
  if (groups.size === 0) return [];
  const warnings: PlanWarning[] = [];
  for (const direction of ['ingress', 'egress'] as const) {
    const selecting = new Set<number>();
    for (const group of groups) {
      for (const tier of plan.groups[group]!.tiers) for (const policy of tier[direction]) selecting.add(policy);
    }
    for (const index of [...selecting].sort((a, b) => a - b)) {
      const policy = plan.policies[index]!;
      const rules = policy[direction].flatMap((rule, number) => (missesTunnel(rule) ? [number] : []));
      if (rules.length > 0 && !policy.isStaged) warnings.push(warningOf(policy, direction, rules));
    }
  }
  return warnings;
}

function ambientGroups(plan: Plan, resources: Resources): ReadonlySet<number> {
  const namespaces = new Map(resources.namespaces.map(({ meta }) => [meta.name, meta.labels.get(MODE_LABEL)]));
  const isAmbient = ({ meta, hostNetwork }: Pod): boolean => {
    if (hostNetwork) return false;
    if (meta.annotations.get(REDIRECTION) === 'enabled') return true;
    const mode = meta.labels.get(MODE_LABEL) ?? namespaces.get(meta.namespace);
    return mode === 'ambient';
  };
  const keys = new Set(resources.pods.filter(isAmbient).map(({ meta }) => `wep:${meta.namespace}/${meta.name}`));
  if (keys.size === 0) return new Set();
  return new Set(plan.endpoints.filter(({ key }) => keys.has(key)).map(({ group }) => group));
}

/** The rule is about ports of TCP, and 15008 is not one of them. */
function missesTunnel({ protocol, destination }: PlanRule): boolean {
  const { ports, namedPorts } = destination;
  if (protocol !== PROTOCOL_TCP || ports.length + namedPorts.length === 0) return false;
  return !ports.some(([low, high]) => low <= HBONE_PORT && HBONE_PORT <= high);
}

const KINDS: Readonly<Record<string, string>> = {
  np: 'NetworkPolicy',
  gnp: 'GlobalNetworkPolicy',
  knp: 'NetworkPolicy',
  kcnp: 'ClusterNetworkPolicy',
};

function warningOf(policy: PlanPolicy, direction: 'ingress' | 'egress', rules: readonly number[]): PlanWarning {
  const { id, namespace, name } = policy;
  const first = policy[direction][rules[0]!]!;
  const which = rules.length === 1 ? `rule ${rules[0]} names` : `rules ${rules.join(', ')} name`;
  const who = direction === 'ingress' ? 'it applies to' : 'it applies to, and those they call,';
  return {
    origin: first.origin,
    kind: KINDS[id.slice(0, id.indexOf(':'))] ?? '',
    namespace,
    name,
    field: `spec.${direction}`,
    message: `${which} ports of TCP, but pods ${who} are in Istio's ambient mode, whose traffic comes by port ${HBONE_PORT} (HBONE): none of it matches`,
    fix: `add port ${HBONE_PORT}, and name the port inside in an AuthorizationPolicy of Istio`,
  };
}
