/**
 * Changes while running, on a cluster that is loaded: `updates.js CLUSTER`. Prints one line of JSON with the samples.
 *
 * - `moveNs`: an address goes over to another owner in the tables that are in use, seen by all threads (src/tables/live.ts)
 * - `addressUs`: a pod gets an address that nobody had, one of many such changes, each published by itself; as what `ipset restore` takes is told
 * - `accountUs`: the labels of a service account change, as which about 1 000 pods run; ten policies have rules by these labels, so all its pods
 *   leave one set and enter another
 * - `agentAddressUs`, `agentAccountUs`: the same as the agent does it, to the tables of a capture process
 *
 * `packed` says how many publications were not written into the tables but packed as a whole, the first included.
 */
import type { NetworkPolicy, Pod, Policy, Resources, ServiceAccount } from '../../src/model/resources.ts';
import { loadCluster } from './load.ts';
import { moveAddresses } from './move.ts';
import { createAgentPublisher, createPublisher, type Publisher } from './publish.ts';

const SAMPLES_MAX = 200;
const BUDGET_MS = 15_000;
const AFFECTED_PODS = 1_000;
/** Each sample of addresses is the mean of so many changes, of pods in turn. */
const ADDRESS_SAMPLES = 9;
const ADDRESSES_A_SAMPLE = 2_000;
const MOVING_PODS = 1_000;
/** Of 10.250.0.0/16: more than there are pods that move, so that each is free again when its turn comes. */
const ADDRESSES = 4_096;

const POLICIES_BY_LABEL = 10;
/** Values of the label that rules ask for, and one that none does. */
const VALUES = ['a', 'b', 'other'];

const { resources } = withRulesByLabel(loadCluster(process.argv[2]!).resources);
const publisher = createPublisher(resources);
publisher.publish();

const { account, podCount } = accountOfSize(AFFECTED_PODS);
const addressUs = sampleAddresses(publisher);
const accountUs = sampleAccount(publisher);
// Last, since it leaves the tables as no cluster would have them.
const moveNs = Array.from({ length: 9 }, () => moveAddresses(publisher.publish()));
const counts = { podCount, pods: resources.pods.length, ...publisher.counts };
const agent = createAgentPublisher(resources);
const [agentAddressUs, agentAccountUs] = [sampleAddresses(agent), sampleAccount(agent)];
process.stdout.write(
  `${JSON.stringify({ moveNs, addressUs, accountUs, agentAddressUs, agentAccountUs, ...counts })}\n`,
);

/** Microseconds of one change of an address and its publication. */
function sampleAddresses(to: Pick<Publisher, 'set' | 'publish'>): number[] {
  const step = Math.max(1, Math.floor(resources.pods.length / MOVING_PODS));
  const pods = resources.pods.filter((_, i) => i % step === 0).slice(0, MOVING_PODS);
  let round = 0;
  return Array.from({ length: ADDRESS_SAMPLES }, () => {
    const start = performance.now();
    for (let i = 0; i < ADDRESSES_A_SAMPLE; i++, round++) {
      const place = round % ADDRESSES;
      to.set(withAddress(pods[round % pods.length]!, `10.250.${place >> 8}.${place & 255}`));
      to.publish();
    }
    return ((performance.now() - start) * 1000) / ADDRESSES_A_SAMPLE;
  });
}

function sampleAccount(to: Pick<Publisher, 'set' | 'publish'>): number[] {
  return sample(to, (round) => to.set(withLabel(account, VALUES[round % VALUES.length]!)));
}

/** Microseconds from each change to its publication; at least three, as many as the budget allows. */
function sample(to: Pick<Publisher, 'publish'>, change: (round: number) => void): number[] {
  const samples: number[] = [];
  const endMs = performance.now() + BUDGET_MS;
  for (let round = 0; round < SAMPLES_MAX && (round < 3 || performance.now() < endMs); round++) {
    const start = performance.now();
    change(round);
    to.publish();
    samples.push((performance.now() - start) * 1000);
  }
  return samples;
}

/** The first policies with two rules more, by a label of accounts. */
function withRulesByLabel(of: Resources): { readonly resources: Resources } {
  let left = POLICIES_BY_LABEL;
  const policies = of.policies.map((policy): Policy => {
    if (policy.kind !== 'NetworkPolicy' || !isCalico(policy) || left-- <= 0) return policy;
    const [rule] = policy.ingress;
    const byLabel = (value: string): typeof rule => ({
      ...rule!,
      source: { ...rule!.source, serviceAccounts: { names: [], selector: `bench == "${value}"` } },
    });
    return { ...policy, ingress: [byLabel('a')!, byLabel('b')!, ...policy.ingress] };
  });
  return { resources: { ...of, policies } };
}

function isCalico(policy: Policy): policy is NetworkPolicy {
  return 'serviceAccountSelector' in policy;
}

function withAddress(of: Pod, address: string): Pod {
  return { ...of, podIPs: [address], podIP: address };
}

function withLabel(of: ServiceAccount, value: string): ServiceAccount {
  return { ...of, meta: { ...of.meta, labels: new Map([...of.meta.labels, ['bench', value]]) } };
}

/** The account whose number of pods is nearest to `wanted`. */
function accountOfSize(wanted: number): { readonly account: ServiceAccount; readonly podCount: number } {
  const counts = new Map<string, number>();
  for (const { meta, serviceAccountName } of resources.pods) {
    const key = `${meta.namespace}/${serviceAccountName}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const countOf = ({ meta }: ServiceAccount): number => counts.get(`${meta.namespace}/${meta.name}`) ?? 0;
  const distance = (of: ServiceAccount): number => Math.abs(countOf(of) - wanted);
  const account = resources.serviceAccounts.reduce((best, next) => (distance(next) < distance(best) ? next : best));
  return { account, podCount: countOf(account) };
}
