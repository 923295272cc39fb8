/** Seeded flows between the addresses of a cluster, with the ports and protocols that its rules name. */

const PREFIX_WORDS = 5;
const COMMON_PORTS = [80, 53, 22, 4789, 179];
const OTHER_PROTOCOLS = [4, 47, 136, 41, 89, 200];
const OUTSIDE = ['203.0.113.77', '198.51.100.7', '2001:db8::77'];

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomFrom(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * `count` flows, at least one end of each a pod or a node.
 *
 * Outside addresses are those of the nets that rules and sets name (their first and their second address) and a few of nobody;
 * ports are the ends of the rules' ranges with their neighbours, and those of named ports.
 */
export function drawFlows(margay, tables, cluster, seed, count) {
  const random = randomFrom(seed);
  const choose = (values) => values[Math.floor(random() * values.length)];
  const owned = new Set([...cluster.pods, ...cluster.nodes].flatMap(({ addresses }) => addresses));
  const pods = cluster.pods.flatMap(({ addresses }) => addresses);
  const nodes = cluster.nodes.flatMap(({ addresses }) => addresses);
  const outside = [...new Set([...OUTSIDE, ...netAddresses(margay, tables)])].filter((each) => !owned.has(each));
  const local = [...pods, ...pods, ...nodes];
  const ports = rulePorts(margay, tables);
  const isSame = (a) => (b) => a.includes(':') === b.includes(':');
  if (local.length === 0) return [];
  return Array.from({ length: count }, () => {
    const here = choose(local);
    const there = choose([...local, ...local, ...outside].filter(isSame(here)));
    const [src, dst] = random() < 0.5 ? [here, there] : [there, here];
    const isIpv6 = src.includes(':');
    const roll = random();
    if (roll < 0.82) {
      const protocol = roll < 0.5 ? 6 : roll < 0.7 ? 17 : 132;
      const src_port = random() < 0.8 ? 1024 + Math.floor(random() * 60000) : choose(ports);
      return { src, dst, protocol, src_port, dst_port: choose(ports) };
    }
    if (roll < 0.93) {
      const types = isIpv6 ? [128, 128, 139, 135] : [8, 8, 13, 17];
      return { src, dst, protocol: isIpv6 ? 58 : 1, icmp_type: choose(types), icmp_code: choose([0, 0, 1]) };
    }
    const protocol = choose(OTHER_PROTOCOLS);
    return protocol === 136
      ? { src, dst, protocol, src_port: choose(ports), dst_port: choose(ports) }
      : { src, dst, protocol };
  });
}

function netAddresses({ formatIpv4, formatIpv6 }, tables) {
  const addresses = [];
  for (let at = 0; at < tables.prefixes.length; at += PREFIX_WORDS) {
    const [form, ...words] = tables.prefixes.subarray(at, at + PREFIX_WORDS);
    const isIpv4 = form >> 8 === 4;
    for (const step of [0, 1]) {
      const last = isIpv4 ? 0 : 3;
      const moved = words.map((word, i) => (i === last ? (word + step) | 0 : word));
      const text = isIpv4 ? formatIpv4(moved[0]) : formatIpv6(...moved);
      // Nothing can come from or go to these: this host, loopback, multicast and what lies above.
      const isUsable = isIpv4
        ? moved[0] >>> 24 > 0 && moved[0] >>> 24 < 224 && moved[0] >>> 24 !== 127
        : moved[0] >>> 24 >= 0x20 && moved[0] >>> 24 < 0xfe;
      if (isUsable) addresses.push(text);
    }
  }
  return addresses;
}

function rulePorts({ layout, field }, tables) {
  const ports = new Set(COMMON_PORTS);
  const add = (port) => {
    if (port > 0 && port < 65536) ports.add(port);
  };
  for (let side = 0; side < tables.counts[layout.SECTION_SIDES]; side++) {
    for (const word of [layout.SIDE_PORTS, layout.SIDE_NOT_PORTS]) {
      const start = field(tables, layout.SECTION_SIDES, side, word);
      for (let i = 0; i < field(tables, layout.SECTION_SIDES, side, word + 1); i++) {
        const [low, high] = [tables.ints[start + 2 * i], tables.ints[start + 2 * i + 1]];
        for (const port of [low - 1, low, high, high + 1]) add(port);
      }
    }
  }
  for (let member = 0; member < tables.counts[layout.SECTION_MEMBERS]; member++) {
    add(field(tables, layout.SECTION_MEMBERS, member, layout.MEMBER_PORT) & 0xffff);
  }
  return [...ports].sort((a, b) => a - b);
}
