/**
 * Addresses that two live endpoints own.
 *
 * As a peer such an address counts for all its owners; as the end that is judged it has several answers, and a verdict
 * that they disagree on is `uncertain` (design, section 4). Host endpoints of one node are no conflict: which of them
 * governs an interface does not depend on who lists the address (semantics 6.1). Nor are owners one after the other.
 */
import { comparePrefixes, formatAddress } from '../base/ip.ts';
import { zeroWords } from '../base/words.ts';
import { addressHash } from '../tables/layout.ts';
import type { Plan, PlanEndpoint, PlanWarning, Prefix } from './plan.ts';
import { type PlanAddresses, planAddresses } from './plan-addresses.ts';
import { ownTogether } from './timed-owners.ts';
import { warning } from './warnings.ts';

type SharedAddress = Plan['sharedAddresses'][number];

/** Sorted by address, owners ascending; one warning each. */
export function sharedAddresses(endpoints: readonly PlanEndpoint[], warnings: PlanWarning[]): SharedAddress[] {
  const addresses = planAddresses({ endpoints });
  const repeated = repeatedWords(addresses);
  if (repeated.size === 0 && !addresses.others.some(({ address }) => address.version === 6)) return [];
  const firstOwner = new Map<number | string, number>();
  const shared = new Map<number | string, { address: Prefix; endpoints: number[] }>();
  for (const [index, { addresses }] of endpoints.entries()) {
    for (const address of addresses) {
      const { version, words } = address;
      if (version === 4 && !repeated.has(words[0])) continue;
      const key = version === 4 ? words[0] : words.join(',');
      const first = firstOwner.get(key);
      if (first === undefined) firstOwner.set(key, index);
      else if (first !== index) {
        const entry = shared.get(key) ?? { address, endpoints: [first] };
        if (entry.endpoints.at(-1) !== index) entry.endpoints.push(index);
        shared.set(key, entry);
      }
    }
  }
  const conflicts = [...shared.values()].filter(({ address, endpoints: owners }) =>
    isConflict(
      owners.map((i) => endpoints[i]!),
      address,
    ),
  );
  conflicts.sort((a, b) => comparePrefixes(a.address, b.address));
  for (const { address, endpoints: owners } of conflicts) warnings.push(conflictWarning(address, owners, endpoints));
  return conflicts;
}

/** IPv4 addresses that are listed more than once: usually none, and to hash numbers in place costs less than a map of them. */
function repeatedWords({ podWords, others }: PlanAddresses): ReadonlySet<number> {
  const repeated = new Set<number>();
  const seen = new WordSet(podWords.length + others.length);
  for (let i = 0; i < podWords.length; i++) if (!seen.add(podWords[i]!)) repeated.add(podWords[i]!);
  for (const { address } of others) {
    if (address.version === 4 && !seen.add(address.words[0])) repeated.add(address.words[0]);
  }
  return repeated;
}

/** A set of int32 by open addressing; 0 is kept apart, since it marks free slots. */
class WordSet {
  readonly #slots: Int32Array;
  #hasZero = false;

  constructor(limit: number) {
    let slots = 2;
    while (slots < 2 * limit) slots *= 2;
    this.#slots = zeroWords(slots);
  }

  /** Whether it was not there yet. */
  add(word: number): boolean {
    if (word === 0) {
      const isNew = !this.#hasZero;
      this.#hasZero = true;
      return isNew;
    }
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = addressHash(word, 0, 0, 0) & mask; ; slot = (slot + 1) & mask) {
      if (slots[slot] === word) return false;
      if (slots[slot] !== 0) continue;
      slots[slot] = word;
      return true;
    }
  }
}

function isConflict(owners: readonly PlanEndpoint[], address: Prefix): boolean {
  if (owners.every(({ kind, node }) => kind === 'hep' && node === owners[0]!.node)) return false;
  return owners.some((owner, i) => owners.slice(i + 1).some((other) => ownTogether(owner, other, address)));
}

function conflictWarning(address: Prefix, owners: readonly number[], endpoints: readonly PlanEndpoint[]): PlanWarning {
  const keys = owners.map((index) => endpoints[index]!.key);
  const last = endpoints[owners.at(-1)!]!;
  const { namespace, name, uid, origin } = last;
  const meta = { namespace, name, uid, origin, labels: new Map(), annotations: new Map() };
  const kind = last.kind === 'wep' ? 'Pod' : 'HostEndpoint';
  const message = `address ${formatAddress(address)} belongs to ${keys.join(' and ')}: as a peer it counts for each of them`;
  return warning({ kind, meta }, '', message, 'remove the object that no longer owns it');
}
