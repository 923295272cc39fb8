/**
 * Addresses that change hands in tables that packets meet at the same time: each takes over class and owners of another one that is
 * drawn at random. What `ipset` does for an address that leaves one set and enters another.
 */
import { classOf4 } from '../../src/match/lookup.ts';
import { Xorshift32 } from '../../src/packets/synthetic.ts';
import * as layout from '../../src/tables/layout.ts';
import { setAddressOwner } from '../../src/tables/live.ts';
import type { Tables } from '../../src/tables/tables.ts';

const MOVES = 100_000;

/** Nanoseconds a move, finding the new class and owners included. Throws if a packet would not see it. */
export function moveAddresses(tables: Tables): number {
  const { owners } = tables;
  const slots = usedSlots(owners);
  const random = new Xorshift32(11);
  const moves = Int32Array.from({ length: 2 * MOVES }, () => slots[random.below(slots.length)]!);
  const start = performance.now();
  for (let i = 0; i < moves.length; i += 2) {
    const to = moves[i + 1]!;
    const newClass = classOf(tables.trie4, owners[to + layout.OWNER_ADDRESS]!);
    setAddressOwner(tables, 4, owners, moves[i]!, newClass, owners[to + layout.OWNER_OWNER]! - 1);
  }
  const ns = ((performance.now() - start) * 1e6) / MOVES;
  const [last, model] = [moves.at(-2)!, moves.at(-1)!];
  const [moved, wanted] = [last, model].map((slot) => classOf(tables.trie4, owners[slot + layout.OWNER_ADDRESS]!));
  if (moved !== wanted) throw new Error('an address that was moved has not the class of its new owner');
  return ns;
}

/** Word offsets of the slots in use. */
function usedSlots(owners: Int32Array): number[] {
  const slots: number[] = [];
  for (let at = 0; at < owners.length; at += layout.OWNER_SIZE) {
    if (owners[at + layout.OWNER_OWNER] !== 0) slots.push(at);
  }
  return slots;
}

/** Number of the class of an address, as a packet finds it. */
function classOf(trie: Int32Array, address: number): number {
  return classOf4(trie, address) / layout.ADDRESS_CLASS_SIZE;
}
