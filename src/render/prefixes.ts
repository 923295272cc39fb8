/** Text prefixes in order: which of them others cover. */
import { type IpPrefix, parsePrefix, prefixContains } from '../base/ip.ts';

/**
 * `members` without those that a wider one covers, in the same order. They are ascending, a prefix before all that it
 * contains, so the last one kept is the only one that can cover the next.
 */
export function withoutCovered(members: readonly string[], version: 4 | 6): string[] {
  let last: IpPrefix | undefined;
  return members.filter((text) => {
    const parsed = parsePrefix(text);
    // The text was made from words of this version; an IPv4-mapped address is written as IPv6 and must stay IPv6.
    if (parsed === undefined || parsed.version !== version) return true;
    if (last !== undefined && prefixContains(last, parsed)) return false;
    last = parsed;
    return true;
  });
}
