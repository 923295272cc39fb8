/**
 * Which service accounts have a path to a port of a pod.
 *
 * The compiled tables answer, not the policies' text: every pod of the cluster, and every pod that could be made
 * (`who-can-candidates.ts`), is judged as the sender of a new connection, by the same code that judges packets. Pods that
 * no policy on the way can tell apart are compiled once, and those that the tables cannot tell apart (same group of
 * endpoints, node and address class) are judged once. An account has a path if one of its pods has, or if a pod of it that could be made has; the answer says which.
 *
 *   cluster and candidates, compiled together ──┬─ judge each existing pod ──► accounts with a path
 *                                               └─ judge each candidate ─────► further accounts, new or relabelled ones
 *
 * Candidates stand on the target's own node, which a pod's author may choose, with free addresses near the target's, so
 * that rules with CIDRs see what they would see. Policies that have no say on the way to the target are left out. They run nowhere and take part in no verdict on others.
 */
import { formatAddress, formatIpv4, formatIpv6, parseAddress } from '../base/ip.ts';
import { packPlan } from '../compile/pack.ts';
import type { Plan, PlanEndpoint } from '../compile/plan.ts';
import { newPlanCaches, planCluster } from '../compile/plan-cluster.ts';
import { judgeNewPacket } from '../match/judge.ts';
import { classOf4 } from '../match/lookup.ts';
import { createJudge } from '../match/state.ts';
import { VERDICT_ALLOW, VERDICT_UNCERTAIN, VERDICT_UNPOLICED } from '../model/flow.ts';
import type { ObjectMeta, Pod, Resources, ServiceAccount, StringMap } from '../model/resources.ts';
import type { Account } from '../rbac/account-ways.ts';
import { openTables, type Tables } from '../tables/tables.ts';
import { PACKET_WORDS } from '../wire/record.ts';
import { writeFlow } from './evaluate-flow.ts';
import { type Candidate, findCandidates, NEW_ACCOUNT, Sight } from './who-can-candidates.ts';

/** A port to reach: `undefined` port = any that some rule speaks of. */
export interface ReachTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly protocol: string;
  readonly port: number | undefined;
}

/** An account with a path, and the pod that shows it. */
export interface AccountPath {
  readonly account: Account;
  /** `pod`: one that exists. `new-pod`: one that could be made. */
  readonly by: 'pod' | 'new-pod';
  /** Names of the existing pods that have it; empty for `new-pod`. */
  readonly pods: readonly string[];
  /** Labels of the new pod. */
  readonly podLabels: StringMap;
  /** The first port that it reaches. */
  readonly port: number;
}

/** An account that does not exist, or that would have to be relabelled first. */
export interface LabelPath {
  readonly namespace: string;
  /** Labels that the account must have, and no others. */
  readonly accountLabels: StringMap;
  readonly podLabels: StringMap;
  readonly port: number;
}

export interface Paths {
  readonly paths: readonly AccountPath[];
  readonly labelPaths: readonly LabelPath[];
  /** Policies that select the target for ingress: indexes into `plan.policies`. */
  readonly policies: readonly number[];
  readonly plan: Plan;
  readonly target: PlanEndpoint;
  /** Accounts whose path depends on missing evidence (an address with two owners). */
  readonly uncertain: readonly Account[];
  readonly judged: { readonly pods: number; readonly newPods: number };
}

/** `undefined` if the pod is no endpoint with an address. */
export function findPaths(resources: Resources, target: ReachTarget): Paths | undefined {
  const caches = newPlanCaches();
  const plan = planCluster(resources, caches);
  const key = `wep:${target.namespace}/${target.pod}`;
  const endpoint = plan.endpoints.find((each) => each.key === key);
  if (endpoint === undefined || endpoint.addresses.length === 0) return undefined;
  const sight = new Sight(resources, plan, endpoint.group);
  const candidates = findCandidates(resources, plan, endpoint.group, sight);
  const shown = representatives(resources, plan, endpoint, sight);
  const made = withCandidates(shown.resources, plan, endpoint, candidates);
  const enlarged = planCluster(made.resources, caches);
  const ports = portsToTry(plan, endpoint, resources, target);
  const prober = new Prober(enlarged, endpoint, target.protocol, ports);
  const existing = probeExisting(plan, endpoint, enlarged, shown.standsIn, prober);
  const tried = probeCandidates(made.keys, enlarged, prober);
  const paths = new Map(existing.paths);
  for (const path of tried.paths) if (!paths.has(keyOf(path.account))) paths.set(keyOf(path.account), path);
  const uncertain = [...existing.uncertain].filter(([name]) => !paths.has(name)).map(([, account]) => account);
  return {
    paths: [...paths.values()].sort(byAccount),
    labelPaths: tried.labelPaths,
    policies: plan.groups[endpoint.group]!.tiers.flatMap(({ ingress }) => ingress),
    plan,
    target: endpoint,
    uncertain,
    judged: { pods: plan.endpoints.filter(({ kind }) => kind === 'wep').length, newPods: candidates.length },
  };
}

interface Representatives {
  /** The objects with one pod of each kind, and with the policies that have a say. */
  readonly resources: Resources;
  /** For the key of each endpoint, the key of the one that is judged for it. */
  readonly standsIn: ReadonlyMap<string, string>;
}

/** One pod for all that no policy on the way can tell apart. Pods that share an address each stand for themselves. */
function representatives(resources: Resources, plan: Plan, target: PlanEndpoint, sight: Sight): Representatives {
  const sharing = new Set(
    plan.sharedAddresses.flatMap(({ endpoints }) => endpoints.map((each) => plan.endpoints[each]!.key)),
  );
  const endpoints = new Set(plan.endpoints.map(({ key }) => key));
  const first = new Map<string, string>();
  const standsIn = new Map<string, string>();
  const pods = resources.pods.filter((pod) => {
    const key = `wep:${pod.meta.namespace}/${pod.meta.name}`;
    if (!endpoints.has(key)) return false;
    if (key === target.key || sharing.has(key)) {
      standsIn.set(key, key);
      return true;
    }
    const sort = sight.ofPod(pod);
    const known = first.get(sort);
    standsIn.set(key, known ?? key);
    if (known === undefined) first.set(sort, key);
    return known === undefined;
  });
  const origins = new Set(sight.policies.map(({ origin }) => origin));
  const policies = resources.policies.filter(({ meta }) => origins.has(meta.origin));
  return { resources: { ...resources, pods, policies }, standsIn };
}

interface Existing {
  readonly paths: ReadonlyMap<string, AccountPath>;
  readonly uncertain: ReadonlyMap<string, Account>;
}

/** Accounts by their pods. */
function probeExisting(
  plan: Plan,
  target: PlanEndpoint,
  enlarged: Plan,
  standsIn: ReadonlyMap<string, string>,
  prober: Prober,
): Existing {
  const byKey = new Map(enlarged.endpoints.map((endpoint) => [endpoint.key, endpoint]));
  const paths = new Map<string, AccountPath & { readonly pods: string[] }>();
  const uncertain = new Map<string, Account>();
  for (const { key, kind, namespace, name: pod, serviceAccount } of plan.endpoints) {
    const sender = byKey.get(standsIn.get(key) ?? '');
    if (kind !== 'wep' || serviceAccount === '' || key === target.key || sender === undefined) continue;
    const account = { namespace, name: serviceAccount };
    const name = keyOf(account);
    const port = prober.portFrom(sender);
    const known = paths.get(name);
    if (port === UNCERTAIN) uncertain.set(name, account);
    else if (port === NO_PORT) continue;
    else if (known !== undefined) known.pods.push(pod);
    else paths.set(name, { account, by: 'pod', pods: [pod], podLabels: new Map(), port });
  }
  return { paths, uncertain };
}

function keyOf({ namespace, name }: Account): string {
  return `${namespace}/${name}`;
}

function byAccount(a: AccountPath, b: AccountPath): number {
  const [left, right] = [keyOf(a.account), keyOf(b.account)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The port asked for; else the pod's own ports, and every port at which a rule for the target begins or ends. */
function portsToTry(plan: Plan, endpoint: PlanEndpoint, resources: Resources, target: ReachTarget): readonly number[] {
  if (target.port !== undefined) return [target.port];
  const ports = new Set<number>();
  const pod = resources.pods.find(({ meta }) => meta.namespace === target.namespace && meta.name === target.pod);
  for (const { containerPort } of pod?.containerPorts ?? []) if (containerPort > 0) ports.add(containerPort);
  for (const policy of plan.groups[endpoint.group]!.tiers.flatMap(({ ingress }) => ingress)) {
    for (const rule of plan.policies[policy]!.ingress) {
      for (const [low, high] of [...rule.destination.ports, ...rule.destination.notPorts]) {
        for (const port of [low, high, low - 1, high + 1]) if (port >= 1 && port <= 65535) ports.add(port);
      }
    }
  }
  return [...ports, 1];
}

const NO_PORT = -1;
const UNCERTAIN = -2;

/** Judges senders against one target. */
class Prober {
  readonly #tables: Tables;
  readonly #judge: ReturnType<typeof createJudge>;
  readonly #target: readonly string[];
  readonly #protocol: string;
  readonly #ports: readonly number[];
  readonly #packet = new Int32Array(PACKET_WORDS);
  readonly #known = new Map<string, number>();

  constructor(plan: Plan, target: PlanEndpoint, protocol: string, ports: readonly number[]) {
    this.#tables = openTables(packPlan(plan));
    this.#judge = createJudge(this.#tables);
    this.#target = addressTexts(target);
    this.#protocol = protocol;
    this.#ports = ports;
  }

  /** The first port that the sender reaches, NO_PORT, or UNCERTAIN. */
  portFrom(sender: PlanEndpoint): number {
    const key = this.#classKey(sender);
    let port = this.#known.get(key);
    if (port === undefined) {
      port = this.#judgeFrom(sender);
      this.#known.set(key, port);
    }
    return port;
  }

  /** Senders with one key get one answer: same labels, same node, same class of every address. */
  #classKey({ group, node, addresses }: PlanEndpoint): string {
    const classes = addresses.map((prefix) =>
      prefix.version === 4 ? classOf4(this.#tables.trie4, prefix.words[0]) : formatAddress(prefix),
    );
    return `${group} ${node} ${classes.join(' ')}`;
  }

  #judgeFrom(sender: PlanEndpoint): number {
    let isUncertain = false;
    for (const src of addressTexts(sender)) {
      for (const dst of this.#target) {
        if (src.includes(':') !== dst.includes(':')) continue;
        for (const port of this.#ports) {
          const hasPorts = !/^icmp/.test(this.#protocol);
          writeFlow({ src, dst, protocol: this.#protocol, ...(hasPorts ? { dst_port: port } : {}) }, this.#packet);
          const verdict = judgeNewPacket(this.#judge, this.#packet, 0);
          if (verdict === VERDICT_ALLOW || verdict === VERDICT_UNPOLICED) return port;
          if (verdict === VERDICT_UNCERTAIN) isUncertain = true;
        }
      }
    }
    return isUncertain ? UNCERTAIN : NO_PORT;
  }
}

function addressTexts({ addresses }: PlanEndpoint): readonly string[] {
  return addresses.map(formatAddress);
}

/* ---- candidates ---- */

interface Tried {
  readonly paths: readonly AccountPath[];
  readonly labelPaths: readonly LabelPath[];
}

function probeCandidates(keys: ReadonlyMap<Candidate, string>, enlarged: Plan, prober: Prober): Tried {
  const byKey = new Map(enlarged.endpoints.map((endpoint) => [endpoint.key, endpoint]));
  const paths: AccountPath[] = [];
  const labelPaths: LabelPath[] = [];
  for (const [candidate, key] of keys) {
    const sender = byKey.get(key);
    const port = sender === undefined ? NO_PORT : prober.portFrom(sender);
    if (port < 0) continue;
    const { podLabels, accountLabels, standsFor } = candidate;
    for (const text of standsFor) {
      const [namespace, name] = text.split('/') as [string, string];
      if (accountLabels !== undefined) labelPaths.push({ namespace, accountLabels, podLabels, port });
      else paths.push({ account: { namespace, name }, by: 'new-pod', pods: [], podLabels, port });
    }
  }
  return { paths, labelPaths };
}

/** The objects with the candidates among them, and the endpoint key of each. */
function withCandidates(
  resources: Resources,
  plan: Plan,
  target: PlanEndpoint,
  candidates: readonly Candidate[],
): { readonly resources: Resources; readonly keys: ReadonlyMap<Candidate, string> } {
  const pods: Pod[] = [];
  const accounts: ServiceAccount[] = [];
  const keys = new Map<Candidate, string>();
  const addresses = freeAddresses(plan, target);
  for (const [index, candidate] of candidates.entries()) {
    const address = addresses.next();
    if (address.done === true) break;
    const { namespace, podLabels, accountLabels } = candidate;
    const name = `margay-try-${index}`;
    let { account } = candidate;
    if (accountLabels !== undefined) {
      // Names differ, since two accounts of one namespace with different labels must be two.
      account = `${NEW_ACCOUNT}-${index}`;
      accounts.push({
        kind: 'ServiceAccount',
        meta: meta(account, namespace, accountLabels, target),
        isSynthesised: true,
      });
    }
    pods.push(candidatePod(meta(name, namespace, podLabels, target), account, target.node, address.value));
    keys.set(candidate, `wep:${namespace}/${name}`);
  }
  const all = {
    ...resources,
    pods: [...resources.pods, ...pods],
    serviceAccounts: [...resources.serviceAccounts, ...accounts],
  };
  return { resources: all, keys };
}

function meta(name: string, namespace: string, labels: StringMap, { origin }: PlanEndpoint): ObjectMeta {
  return { name, namespace, uid: '', labels, annotations: new Map(), origin };
}

function candidatePod(podMeta: ObjectMeta, serviceAccountName: string, nodeName: string, address: string): Pod {
  return {
    kind: 'Pod',
    meta: podMeta,
    nodeName,
    hostNetwork: false,
    serviceAccountName,
    phase: 'Running',
    hasDeletionTimestamp: false,
    podIPs: [address],
    podIP: address,
    containerPorts: [],
    initContainerPorts: [],
    isSynthesised: true,
  };
}

/** Addresses that nobody has, near the target's: of its /16, or of its /112. */
function* freeAddresses(plan: Plan, target: PlanEndpoint): Generator<string, undefined> {
  const taken = new Set(plan.endpoints.flatMap(addressTexts));
  for (const node of plan.nodes) for (const prefix of node.addresses) taken.add(formatAddress(prefix));
  const own = target.addresses.find(({ version }) => version === 4);
  const other = addressTexts(target)[0]!;
  for (let offset = 1; offset < 0xffff; offset++) {
    const text =
      own === undefined
        ? nearIpv6(other, offset)
        : formatIpv4((own.words[0] & 0xffff0000) | ((own.words[0] + offset) & 0xffff) | 0);
    if (text !== undefined && !taken.has(text)) yield text;
  }
  return undefined;
}

function nearIpv6(text: string, offset: number): string | undefined {
  const address = parseAddress(text);
  if (address === undefined) return undefined;
  const [w0, w1, w2, w3] = address.words;
  const last = (w3 & 0xffff0000) | ((w3 + offset) & 0xffff) | 0;
  return formatIpv6(w0, w1, w2, last);
}
