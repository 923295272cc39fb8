/**
 * What both texts are printed from: chains of rules for one node and one IP version, in no tool's syntax.
 *
 * Calico renders iptables and nftables from one set of rules (felix/rules, felix/generictables), and so do we: `build.ts` makes a
 * `Ruleset`, `nft.ts` and `iptables.ts` print it. A rule is a list of matches, all of which must hold, and one action. What
 * neither tool can say in one rule (an OR of lists) is spread over several rules with mark bits, as Calico does.
 *
 * Mark bits of a packet (Felix's IptablesMarkMask 0xffff0000 hands them out in this order):
 *
 *   ACCEPT    a rule said Allow; what "accepted" means is semantics 6.6
 *   PASS      a rule said Pass: the rest of the tier is skipped
 *   SCRATCH0  all blocks of the rule in hand matched; in the raw table: came in by a pod's interface
 *   SCRATCH1  the block in hand matched
 */

export const MARK_ACCEPT = 0x10000;
export const MARK_PASS = 0x20000;
export const MARK_SCRATCH0 = 0x40000;
export const MARK_SCRATCH1 = 0x80000;
export const MARK_ALL = 0xf0000;

export type Side = 'src' | 'dst';

export type Match =
  /** Name of an interface; a trailing `+` stands for any rest. */
  | { readonly kind: 'in' | 'out'; readonly name: string }
  | { readonly kind: 'state'; readonly states: readonly ('RELATED' | 'ESTABLISHED' | 'INVALID' | 'DNAT')[] }
  /** All of `bits` set, or none of them. */
  | { readonly kind: 'mark'; readonly bits: number; readonly isSet: boolean }
  | { readonly kind: 'protocol'; readonly protocol: number; readonly isNegated: boolean }
  | { readonly kind: 'net'; readonly side: Side; readonly prefix: string; readonly isNegated: boolean }
  /** `set` is the kernel's name; an address-and-port set is matched with the protocol and the port of the same side. */
  | {
      readonly kind: 'set';
      readonly side: Side;
      readonly set: string;
      readonly hasPort: boolean;
      readonly isNegated: boolean;
    }
  /** At most 15 slots, a range taking two. Needs a protocol match of TCP, UDP or SCTP in the same rule. */
  | { readonly kind: 'ports'; readonly side: Side; readonly ranges: readonly PortRange[]; readonly isNegated: boolean }
  /** `code` -1 = any. Needs a protocol match of the version's ICMP in the same rule. */
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number; readonly isNegated: boolean }
  /** An address of this node. */
  | { readonly kind: 'local'; readonly side: Side }
  /** No route back to the source by the interface it came in by. */
  | { readonly kind: 'spoofed' };

export type PortRange = readonly [low: number, high: number];

export type Action =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'notrack' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  | { readonly kind: 'set-mark' | 'clear-mark'; readonly bits: number };

export interface Rule {
  readonly matches: readonly Match[];
  readonly action: Action;
  readonly comment?: string;
}

export interface Chain {
  readonly name: string;
  /** Remarks printed before the chain. */
  readonly notes: readonly string[];
  readonly rules: readonly Rule[];
}

export type TableName = 'raw' | 'mangle' | 'filter';
export type Hook = 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING';

export interface Table {
  readonly name: TableName;
  /** What the built-in chain of each hook does; its policy is to accept. */
  readonly hooks: readonly { readonly hook: Hook; readonly rules: readonly Rule[] }[];
  readonly chains: readonly Chain[];
}

export interface KernelSet {
  /** The kernel's name in iptables' form (semantics 7.1). */
  readonly name: string;
  readonly id: string;
  readonly hasPort: boolean;
  /** Selector or service. */
  readonly text: string;
  /** `10.0.0.0/8`, or `10.0.0.1,tcp:80`; ascending. */
  readonly members: readonly string[];
}

export interface Ruleset {
  readonly version: 4 | 6;
  readonly tables: readonly Table[];
  readonly sets: readonly KernelSet[];
}

/** Something of the tables that the text does not express, with the reason. */
export interface LeftOut {
  readonly what: string;
  readonly reason: string;
}

export const ACCEPT: Action = { kind: 'accept' };
export const DROP: Action = { kind: 'drop' };
export const RETURN: Action = { kind: 'return' };
export const NOTRACK: Action = { kind: 'notrack' };
export const jump = (chain: string): Action => ({ kind: 'jump', chain });
export const goto = (chain: string): Action => ({ kind: 'goto', chain });
export const setMark = (bits: number): Action => ({ kind: 'set-mark', bits });
export const clearMark = (bits: number): Action => ({ kind: 'clear-mark', bits });
export const hasMark = (bits: number): Match => ({ kind: 'mark', bits, isSet: true });
export const lacksMark = (bits: number): Match => ({ kind: 'mark', bits, isSet: false });

export function rule(matches: readonly Match[], action: Action, comment?: string): Rule {
  return comment === undefined ? { matches, action } : { matches, action, comment };
}
