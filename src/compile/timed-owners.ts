/**
 * Addresses that change their owner while packets are judged.
 *
 * Manifests know the present: their pods own their addresses always. An identities file gives each ownership its bounds
 * (`PlanEndpoint.spans`), and addresses are used again within seconds, so one address has a row of states, each a set of pods:
 *
 *   spans      10.0.0.5  web-1 [10:00, 10:05)    api-7 [10:04, …)
 *   states     …10:00 nobody   10:00 web-1   10:04 web-1 and api-7   10:05… api-7
 *
 * All pods that ever occur are compiled as endpoints into one table, and every state of every address gets its own address class; what
 * changes with time is which class an address has. Two pods at once are a state like any other, judged as a shared address.
 *
 * Rejected: tables for each stretch of time between changes. A cluster of 10 000 pods that lives for an hour a pod changes three times a second.
 */
import { comparePrefixes } from '../base/ip.ts';
import type { OwnedSpan, Plan, PlanEndpoint, PlanRejectedPod, Prefix } from './plan.ts';

export interface TimedAddress {
  readonly address: Prefix;
  /** By time; the first from minus infinity on. Neighbours differ. At least two. */
  readonly states: readonly TimedState[];
}

export interface TimedState {
  /** Milliseconds since 1970. */
  readonly fromMs: number;
  /** Pods by key, as owner lists number them: refused ones after the endpoints of the plan. */
  readonly pods: readonly number[];
}

/** One value for an exact address: IPv4 as int32, which is many times faster than text; IPv6 as text. */
export type AddressKey = number | string;

export function addressKey({ version, words }: Prefix): AddressKey {
  return version === 4 ? words[0] : words.join();
}

export type TimedAddresses = ReadonlyMap<AddressKey, TimedAddress>;

const ALWAYS = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };

type Spanned = Pick<PlanEndpoint | PlanRejectedPod, 'addresses' | 'spans'>;

/** The addresses of the plan that change their owner, in order of address; none for a plan from manifests alone. */
export function timedAddresses(plan: Plan): TimedAddresses {
  const isTimed = [plan.endpoints, plan.rejectedPods].some((list) =>
    (list as readonly Spanned[]).some(({ spans }) => spans !== undefined),
  );
  if (!isTimed) return new Map();
  const pods: (Spanned | undefined)[] = [
    ...plan.endpoints.map((endpoint) => (endpoint.kind === 'wep' ? endpoint : undefined)),
    ...plan.rejectedPods,
  ];
  const bounded = new Set<AddressKey>();
  for (const pod of pods) {
    for (const span of pod?.spans ?? []) if (isBounded(span)) bounded.add(addressKey(span.address));
  }
  if (bounded.size === 0) return new Map();
  const spans = new Map<AddressKey, { pod: number; span: OwnedSpan }[]>();
  pods.forEach((pod, index) => {
    for (const span of pod === undefined ? [] : spansOf(pod)) {
      const key = addressKey(span.address);
      if (!bounded.has(key)) continue;
      const list = spans.get(key);
      if (list === undefined) spans.set(key, [{ pod: index, span }]);
      else list.push({ pod: index, span });
    }
  });
  const timed = [...spans].map(
    ([key, list]) => [key, { address: list[0]!.span.address, states: statesOf(list) }] as const,
  );
  return new Map(timed.sort(([, a], [, b]) => comparePrefixes(a.address, b.address)));
}

/**
 * For tables that change while they are in use: every address that a pod has, and those of `pool`, which pods may get. First nobody owns it, then
 * those who own it now.
 */
export function liveAddresses(plan: Plan, pool: readonly Prefix[]): TimedAddresses {
  const owned = new Map<AddressKey, { address: Prefix; pods: number[] }>();
  const add = (address: Prefix, pods: readonly number[]): void => {
    const key = addressKey(address);
    const known = owned.get(key);
    if (known === undefined) owned.set(key, { address, pods: [...pods] });
    else known.pods.push(...pods);
  };
  plan.endpoints.forEach(({ kind, addresses }, index) => {
    if (kind === 'wep') for (const address of addresses) add(address, [index]);
  });
  plan.rejectedPods.forEach(({ addresses }, index) => {
    for (const address of addresses) add(address, [plan.endpoints.length + index]);
  });
  for (const address of pool) add(address, []);
  const timed = [...owned].map(([key, { address, pods }]) => {
    const vacant: TimedState = { fromMs: ALWAYS.fromMs, pods: [] };
    return [key, { address, states: pods.length === 0 ? [vacant] : [vacant, { fromMs: 0, pods }] }] as const;
  });
  return new Map(timed.sort(([, a], [, b]) => comparePrefixes(a.address, b.address)));
}

/** Whether two owners of `address` own it at one time. */
export function ownTogether(a: Spanned, b: Spanned, address: Prefix): boolean {
  const key = addressKey(address);
  const of = (owner: Spanned): OwnedSpan[] => spansOf(owner).filter((span) => addressKey(span.address) === key);
  return of(a).some((one) => of(b).some((other) => one.fromMs < other.toMs && other.fromMs < one.toMs));
}

function spansOf({ addresses, spans }: Spanned): readonly OwnedSpan[] {
  return spans ?? addresses.map((address) => ({ address, ...ALWAYS }));
}

function isBounded({ fromMs, toMs }: OwnedSpan): boolean {
  return fromMs !== ALWAYS.fromMs || toMs !== ALWAYS.toMs;
}

/** One sweep over the bounds; pods whose spans touch or overlap own it without a gap. */
function statesOf(list: readonly { readonly pod: number; readonly span: OwnedSpan }[]): TimedState[] {
  const bounds = list
    .filter(({ span }) => span.fromMs < span.toMs)
    .flatMap(({ pod, span }) => [
      { atMs: span.fromMs, pod, step: 1 },
      { atMs: span.toMs, pod, step: -1 },
    ])

    // A difference of two infinite moments is no number.
    .sort((a, b) => (a.atMs < b.atMs ? -1 : a.atMs > b.atMs ? 1 : 0));
  const open = new Map<number, number>();
  const states: TimedState[] = [{ fromMs: ALWAYS.fromMs, pods: [] }];
  for (let i = 0; i < bounds.length; ) {
    const { atMs } = bounds[i]!;
    for (; i < bounds.length && bounds[i]!.atMs === atMs; i++) {
      const { pod, step } = bounds[i]!;
      const count = (open.get(pod) ?? 0) + step;
      if (count === 0) open.delete(pod);
      else open.set(pod, count);
    }
    if (atMs === ALWAYS.toMs) break;
    const state = { fromMs: atMs, pods: [...open.keys()].sort((a, b) => a - b) };
    const last = states.at(-1)!;
    if (last.fromMs === atMs) states.pop();
    if (states.at(-1)?.pods.join() !== state.pods.join()) states.push(state);
  }
  return states;
}
