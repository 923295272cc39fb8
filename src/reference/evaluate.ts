/**
 * The reference evaluator: the slow, obviously right twin of the compiler and the matcher.
 *
 * It is written from the semantics alone and works on the model as loaded: every selector is a predicate, every rule a
 * conjunction, every chain a loop. It knows no tables, no bit rows and no classes, so that an error there cannot hide
 * here. Only tests, benches and `replay --check` use it. Its parts, in the order of the semantics:
 *
 *     endpoints.ts, profiles.ts   section 2     who has labels and addresses
 *     selector-text.ts, rules.ts  section 3     what a rule matches, what a policy selects
 *     policies.ts, chains.ts      section 4     order, tiers, profiles, traces
 *     kubernetes.ts               section 5     Kubernetes' own policies
 *     nodes.ts, path.ts           section 6     which checks a packet meets
 *     conntrack.ts                section 6.7   connections, by node
 */
import { type IpPrefix, parsePrefixOrAddress } from '../base/ip.ts';
import { type Dataplane, type Flow, REASON_NAMES, REASON_SHARED_ADDRESS } from '../model/flow.ts';
import type { Resources } from '../model/resources.ts';
import { Chains, type ProfileRules } from './chains.ts';
import { hostEndpoints, networkSets, podEndpoints } from './endpoints.ts';
import { IpSets } from './ip-sets.ts';
import { Nodes } from './nodes.ts';
import { AddressBook, type Packet, packetOfFlow } from './packet.ts';
import {
  type Check,
  type CheckName,
  type ConnectionState,
  type Connections,
  type Judgement,
  judgePath,
  NO_HISTORY,
} from './path.ts';
import { orderedTiers } from './policies.ts';
import { profilesOf, type ReferenceProfile } from './profiles.ts';
import { isValidRule, prepareRules } from './rules.ts';
import { settingsOfNode } from './settings.ts';

export interface ReferenceOptions {
  /** Keeps only the endpoints of this node, as its own dataplane would. */
  readonly node?: string;
  /** The dataplane whose differences of semantics 6.10 apply. */
  readonly dataplane?: Dataplane;
}

/** The traces of the pending answer, for the directions whose check ran. */
export interface PendingVerdict {
  readonly action: 'allow' | 'deny' | 'unpoliced';
  readonly egress?: readonly string[];
  readonly ingress?: readonly string[];
  readonly forward?: readonly string[];
  readonly untracked?: readonly string[];
  readonly prednat?: readonly string[];
}

/** A verdict as records have it (design, section 5): a direction is present exactly when its check ran. */
export interface ReferenceVerdict {
  readonly action: 'allow' | 'deny' | 'unpoliced' | 'uncertain';
  /** One of `REASON_NAMES`. */
  readonly reason: string;
  readonly direction: CheckName | '';
  readonly egress?: Check;
  readonly ingress?: Check;
  readonly forward?: Check;
  readonly untracked?: Check;
  readonly prednat?: Check;
  /** What would happen if every staged policy were enforced; absent when nothing in it differs. */
  readonly pending?: PendingVerdict;
}

export interface Reference {
  readonly addresses: AddressBook;
  readonly dataplane: Dataplane;
  /** The verdict of a flow's first packet. Throws `TypeError` on a malformed flow. */
  evaluate(flow: Flow): ReferenceVerdict;
  /** The verdict of one packet among others; `connections` tells and hears what each node knows. */
  judge(packet: Packet, connections: Connections): ReferenceVerdict;
}

export function createReference(resources: Resources, options: ReferenceOptions = {}): Reference {
  const addresses = new AddressBook();
  const profiles = profilesOf(resources);
  const canSpoof = (node: string): boolean => settingsOfNode(resources, node).canSpoof;
  const pods = podEndpoints(resources, profiles, addresses, canSpoof);
  const heps = hostEndpoints(resources, profiles, addresses);
  const sets = new IpSets([...pods, ...heps], networkSets(resources, profiles), resources, addresses);
  const dataplane = options.dataplane ?? 'iptables';
  const tiers = orderedTiers(resources, sets, dataplane);
  const chains = new Chains(tiers, profileRules(profiles, sets, dataplane), dataplane);
  const nodes = new Nodes(resources, pods, heps, addresses);
  const serviceLoops = serviceLoopPrefixes(resources);
  const hasStaged = resources.policies.some((policy) => policy.kind.startsWith('Staged'));

  function judge(packet: Packet, connections: Connections): ReferenceVerdict {
    const answer = (isPending: boolean, history: Connections): Judgement | 'shared-address' => {
      const context = { chains, serviceLoops, isPending, onlyNode: options.node, dataplane };
      const places = (address: Packet['src']) => nodes.placesOf(address, options.node);
      const answers = places(packet.src).flatMap((src) =>
        places(packet.dst).map((dst) => judgePath(context, packet, src, dst, history)),
      );
      const first = answers[0]!;
      return answers.every(({ action }) => action === first.action) ? first : 'shared-address';
    };
    const states = new Map<string, ConnectionState>();
    const enforced = answer(false, {
      stateOn(node) {
        const state = connections.stateOn(node);
        states.set(node, state);
        return state;
      },
      passedOn: connections.passedOn,
    });
    if (enforced === 'shared-address') {
      return { action: 'uncertain', reason: REASON_NAMES[REASON_SHARED_ADDRESS]!, direction: '' };
    }
    const verdict = {
      action: enforced.action,
      reason: enforced.reason,
      direction: enforced.direction,
      ...enforced.checks,
    };
    if (!hasStaged) return verdict;
    // What might be moves no entry: a node that the packet never reached is taken to know nothing of it.
    const staged = answer(true, { stateOn: (node) => states.get(node) ?? 'new', passedOn: () => undefined });
    if (staged === 'shared-address') return verdict;
    const pending = pendingOf(staged);
    return samePending(pending, pendingOf(enforced)) ? verdict : { ...verdict, pending };
  }

  return { addresses, dataplane, judge, evaluate: (flow) => judge(packetOfFlow(flow, addresses), NO_HISTORY) };
}

function pendingOf({ action, checks }: Judgement): PendingVerdict {
  return {
    action,
    ...(checks.egress && { egress: checks.egress.trace }),
    ...(checks.ingress && { ingress: checks.ingress.trace }),
    ...(checks.forward && { forward: checks.forward.trace }),
    ...(checks.untracked && { untracked: checks.untracked.trace }),
    ...(checks.prednat && { prednat: checks.prednat.trace }),
  };
}

function samePending(a: PendingVerdict, b: PendingVerdict): boolean {
  const sameTrace = (x?: readonly string[], y?: readonly string[]): boolean => x?.join('\n') === y?.join('\n');
  return (
    a.action === b.action &&
    sameTrace(a.egress, b.egress) &&
    sameTrace(a.ingress, b.ingress) &&
    sameTrace(a.forward, b.forward) &&
    sameTrace(a.untracked, b.untracked) &&
    sameTrace(a.prednat, b.prednat)
  );
}

/** A profile that Felix refuses is as if missing (semantics 3.2). */
function profileRules(
  profiles: ReadonlyMap<string, ReferenceProfile>,
  sets: IpSets,
  dataplane: Dataplane,
): ProfileRules {
  const valid = [...profiles.values()].filter(({ ingress, egress }) =>
    [...ingress, ...egress].every((rule) => isValidRule(rule, '')),
  );
  return new Map(
    valid.map(({ name, ingress, egress }) => [
      name,
      { ingress: prepareRules(ingress, '', sets, dataplane), egress: prepareRules(egress, '', sets, dataplane) },
    ]),
  );
}

/** BGPConfiguration's service CIDRs (semantics 6.9). */
function serviceLoopPrefixes(resources: Resources): IpPrefix[] {
  const texts = resources.bgpConfigurations.flatMap((configuration) => [
    ...configuration.serviceClusterIPs,
    ...configuration.serviceExternalIPs,
    ...configuration.serviceLoadBalancerIPs,
  ]);
  return texts.flatMap((text) => parsePrefixOrAddress(text) ?? []);
}
