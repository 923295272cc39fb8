/**
 * Sets of keys: which protocols and ports (or ICMP types and codes) a rule matches.
 *
 * A key is `slot << 16 | value` (tables/layout.ts draws it). A set is a flat list of inclusive intervals
 * `[low, high, low, high, …]`, ascending and disjoint, so that TCP 80 and 443 is `[80, 80, 443, 443]`, all of UDP is
 * `[0x10000, 0x1ffff]`, and "anything but ICMP" is three intervals. Intersection and difference are linear merges.
 */
import { assert } from '../base/assert.ts';
import {
  KEY_LIMIT,
  KEY_SLOT_ICMP,
  KEY_SLOT_OTHER,
  KEY_SLOT_SCTP,
  KEY_SLOT_TCP,
  keySlot,
  SLOT_BITS,
} from '../tables/layout.ts';

export type KeySet = readonly number[];

export const ALL_KEYS: KeySet = [0, KEY_LIMIT - 1];

export function isAllKeys(set: KeySet): boolean {
  return set.length === 2 && set[0] === 0 && set[1] === KEY_LIMIT - 1;
}

/** All keys of one IP protocol on `version`. */
export function protocolKeys(protocol: number, version: 4 | 6): KeySet {
  const slot = keySlot(protocol, version);
  if (slot === KEY_SLOT_OTHER) return [(slot << SLOT_BITS) | protocol, (slot << SLOT_BITS) | protocol];
  return [slot << SLOT_BITS, (slot << SLOT_BITS) | 0xffff];
}

/** The given inclusive port ranges, in every protocol that has ports. */
export function portKeys(ranges: readonly (readonly [number, number])[]): KeySet {
  const sorted = mergeRanges(ranges);
  const out: number[] = [];
  for (let slot = KEY_SLOT_TCP; slot <= KEY_SLOT_SCTP; slot++) {
    for (const [low, high] of sorted) out.push((slot << SLOT_BITS) | low, (slot << SLOT_BITS) | high);
  }
  return out;
}

/** One port of TCP, UDP or SCTP. */
export function portKey(protocol: number, port: number): KeySet {
  const slot = keySlot(protocol, 4);
  assert(slot <= KEY_SLOT_SCTP, 'the protocol has ports');
  return [(slot << SLOT_BITS) | port, (slot << SLOT_BITS) | port];
}

/** ICMP (or ICMPv6) of a type, and of a code unless `code` is -1. */
export function icmpKeys(type: number, code: number): KeySet {
  const base = (KEY_SLOT_ICMP << SLOT_BITS) | (type << 8);
  return code < 0 ? [base, base | 0xff] : [base | code, base | code];
}

/** ICMP of a code, whatever its type. */
export function icmpCodeKeys(code: number): KeySet {
  return Array.from({ length: 256 }, (_, type) => icmpKeys(type, code)).flat();
}

/**
 * What equals an ICMP type (and code) to Calico's BPF programs, which read both from where other protocols keep the destination port:
 * type is its low byte, code its high byte (the machine's order), and 0 where there is no port. Source: Calico
 * felix/bpf/polprog/pol_prog_builder.go (writeICMPTypeMatch), felix/bpf-gpl/types.h (struct cali_tc_state).
 */
export function bpfIcmpKeys(type: number, code: number): KeySet {
  const keys: number[] = [];
  for (let slot = KEY_SLOT_TCP; slot <= KEY_SLOT_SCTP; slot++) {
    const highs = code < 0 ? Array.from({ length: 256 }, (_, high) => high) : [code];
    for (const high of highs) {
      const key = (slot << SLOT_BITS) | (high << 8) | type;
      keys.push(key, key);
    }
  }
  keys.push(...icmpKeys(type, code));
  if (type === 0 && code <= 0) keys.push(KEY_SLOT_OTHER << SLOT_BITS, KEY_LIMIT - 1);
  return keys;
}

export function allIcmpKeys(): KeySet {
  return [KEY_SLOT_ICMP << SLOT_BITS, (KEY_SLOT_ICMP << SLOT_BITS) | 0xffff];
}

export function intersectKeys(a: KeySet, b: KeySet): KeySet {
  if (isAllKeys(a)) return b;
  if (isAllKeys(b)) return a;
  const out: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const low = Math.max(a[i]!, b[j]!);
    const high = Math.min(a[i + 1]!, b[j + 1]!);
    if (low <= high) out.push(low, high);
    if (a[i + 1]! < b[j + 1]!) i += 2;
    else j += 2;
  }
  return out;
}

/** `a` without `b`. */
export function subtractKeys(a: KeySet, b: KeySet): KeySet {
  if (b.length === 0) return a;
  const out: number[] = [];
  let j = 0;
  for (let i = 0; i < a.length; i += 2) {
    let low = a[i]!;
    const high = a[i + 1]!;
    while (j < b.length && b[j + 1]! < low) j += 2;
    for (let k = j; k < b.length && b[k]! <= high && low <= high; k += 2) {
      if (b[k]! > low) out.push(low, b[k]! - 1);
      low = b[k + 1]! + 1;
    }
    if (low <= high) out.push(low, high);
  }
  return out;
}

export function complementKeys(set: KeySet): KeySet {
  return subtractKeys(ALL_KEYS, set);
}

/** Sorted, disjoint and not adjacent. */
function mergeRanges(ranges: readonly (readonly [number, number])[]): [number, number][] {
  const sorted = ranges.map(([low, high]): [number, number] => [low, high]).sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const range of sorted) {
    const last = out.at(-1);
    if (last !== undefined && range[0] <= last[1] + 1) last[1] = Math.max(last[1], range[1]);
    else out.push(range);
  }
  return out;
}
