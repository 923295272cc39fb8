/** What the lessons share: two nodes, machines outside, and names for trace entries in Calico's wording (S 7.4). */

export const NODES = [
  { name: 'node-1', number: 1, ip4: '192.168.56.11', ip6: 'fd00:192:168:56::11' },
  { name: 'node-2', number: 2, ip4: '192.168.56.12', ip6: 'fd00:192:168:56::12' },
];

/** Documentation addresses (RFC 5737, RFC 3849): no part of the cluster. */
export const OUTSIDE = { name: 'outside', ip4: '203.0.113.50', ip6: '2001:db8:56::50' };

/** Nothing selected the pod in this direction, so the profile of its namespace decides, and that allows. */
export const allowedByProfile = (namespace, position = 0) => `${position}|__PROFILE__|pro:kns.${namespace}|allow|0`;
