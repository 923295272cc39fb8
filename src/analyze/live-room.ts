/** How much room tables are given for pods that come while they are in use (tables/live.ts). */
import { fullPrefix, type IpPrefix, parsePrefix } from '../base/ip.ts';
import type { LiveOptions } from '../compile/pack.ts';
import type { Node } from '../model/resources.ts';

/** Addresses that pods may get without new tables, and pods that may come. */
const POOL_ADDRESSES = 65_536;
const SPARE_ENDPOINTS = 4_096;

export function liveRoom(nodes: readonly Node[]): LiveOptions {
  return { pool: poolOf(nodes), spareEndpoints: SPARE_ENDPOINTS };
}

/** The addresses of nodes' podCIDRs, as many as there is room for. */
function poolOf(nodes: readonly Node[]): IpPrefix[] {
  const pool: IpPrefix[] = [];
  const prefixes = nodes.flatMap(({ podCIDRs }) => podCIDRs.map(parsePrefix));
  const ofVersion4 = prefixes.filter((prefix): prefix is IpPrefix => prefix?.version === 4 && prefix.length >= 16);
  for (const { words, length } of ofVersion4) {
    const count = 2 ** (32 - length);
    if (pool.length + count > POOL_ADDRESSES) break;
    for (let i = 0; i < count; i++) pool.push(fullPrefix({ version: 4, words: [(words[0] + i) | 0, 0, 0, 0] }));
  }
  return pool;
}
