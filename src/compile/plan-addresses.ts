/**
 * Who names which exact address, read off the plan once.
 *
 * Nearly all are one IPv4 address of a pod: two numbers each, in the order of endpoints. Whatever else there is, addresses of IPv6 and what
 * host endpoints expect, stays as objects.
 */
import { zeroWords } from '../base/words.ts';
import type { Plan, Prefix } from './plan.ts';

export interface PlanAddresses {
  /** IPv4 addresses of pods, and the endpoint of each. */
  readonly podWords: Int32Array;
  readonly podOf: Int32Array;
  readonly others: readonly { readonly address: Prefix; readonly endpoint: number }[];
}

/** By list of endpoints: both planning and packing ask. */
const known = new WeakMap<Plan['endpoints'], PlanAddresses>();

export function planAddresses({ endpoints }: Pick<Plan, 'endpoints'>): PlanAddresses {
  let addresses = known.get(endpoints);
  if (addresses === undefined) {
    addresses = readAddresses(endpoints);
    known.set(endpoints, addresses);
  }
  return addresses;
}

function readAddresses(endpoints: Plan['endpoints']): PlanAddresses {
  let limit = 0;
  for (const { addresses } of endpoints) limit += addresses.length;
  const podWords = zeroWords(limit);
  const podOf = zeroWords(limit);
  const others: { address: Prefix; endpoint: number }[] = [];
  let count = 0;
  for (let endpoint = 0; endpoint < endpoints.length; endpoint++) {
    const { addresses, kind } = endpoints[endpoint]!;
    for (const address of addresses) {
      if (address.version === 6 || kind === 'hep') others.push({ address, endpoint });
      else {
        podWords[count] = address.words[0];
        podOf[count++] = endpoint;
      }
    }
  }
  return { podWords: podWords.subarray(0, count), podOf: podOf.subarray(0, count), others };
}
