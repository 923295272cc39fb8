/** IP sets as the kernel holds them: one a selector (or named port, or service) and IP version. */
import * as layout from '../tables/layout.ts';
import { setMembers } from '../tables/members.ts';
import { field, type Tables, textField } from '../tables/tables.ts';
import { prefixText, readPrefix } from './reader.ts';
import type { KernelSet } from './ruleset.ts';

const PORT_PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
]);

/** The members of `ipSet` of one version, in the order of the tables. */
export function kernelSet(tables: Tables, ipSet: number, version: 4 | 6, name: string): KernelSet {
  const word = (at: number): number => field(tables, layout.SECTION_IP_SETS, ipSet, at);
  const hasPort = word(layout.IP_SET_TYPE) === layout.IP_SET_IP_PORT;
  const words = setMembers(tables, ipSet);
  const members: string[] = [];
  for (let at = 0; at < words.length; at += layout.RECORD_WORDS[layout.SECTION_MEMBERS]!) {
    const text = memberText(words, at, version, hasPort);
    if (text !== undefined) members.push(text);
  }
  return {
    name,
    id: textField(tables, layout.SECTION_IP_SETS, ipSet, layout.IP_SET_ID),
    hasPort,
    text: textField(tables, layout.SECTION_IP_SETS, ipSet, layout.IP_SET_TEXT),
    members,
  };
}

function memberText(words: Int32Array, at: number, version: 4 | 6, hasPort: boolean): string | undefined {
  const prefix = readPrefix(words, at + layout.MEMBER_PREFIX);
  if (prefix.version !== version) return undefined;
  if (!hasPort) return prefixText(prefix);
  const tuple = words[at + layout.MEMBER_PORT]!;
  return `${prefix.address},${PORT_PROTOCOLS.get(tuple >>> 16) ?? String(tuple >>> 16)}:${tuple & 0xffff}`;
}
