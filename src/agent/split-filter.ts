/**
 * BPF by which several children share the flows of an interface: both directions of a flow, all its fragments and all copies of its packets go to one.
 *
 * The last bytes of the two addresses are added, which is the same either way: `((ip[15] + ip[19]) % 4) = 1` for the second of four. What is
 * neither IPv4 nor IPv6, and what hides behind a VLAN tag, is the first child's. An ICMP error from a router in between goes where the router's
 * address sends it, and so may miss the connection that it quotes.
 */

/** The filter of child `index` of `count`; `filter` is the user's own, empty = everything. */
export function splitFilter(filter: string, index: number, count: number): string {
  if (count === 1) return filter;
  const v4 = `(ip and ((ip[15] + ip[19]) % ${count}) = ${index})`;
  const v6 = `(ip6 and ((ip6[23] + ip6[39]) % ${count}) = ${index})`;
  const share = index === 0 ? `(${v4} or ${v6} or not (ip or ip6))` : `(${v4} or ${v6})`;
  return filter === '' ? share : `(${filter}) and ${share}`;
}
