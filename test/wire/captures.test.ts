/**
 * Captures made by others (the tcpdump project's own test files; half of them are malformed on purpose).
 *
 * They lie outside the repository; where they are absent the tests are skipped by name, and so is the comparison where
 * tshark and mergecap are not installed.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatAddress } from '../../src/base/ip.ts';
import { openCapture } from '../../src/packets/pcap-file.ts';
import type { CaptureReader } from '../../src/packets/source.ts';
import { createRecordBatch } from '../../src/packets/source.ts';
import { decodeBatch } from '../../src/wire/decode.ts';
import { isSupportedLinkType } from '../../src/wire/link.ts';
import * as record from '../../src/wire/record.ts';

const folder = new URL('../../../shared/captures/tcpdump', import.meta.url).pathname;
const isHere = existsSync(folder);
const files = isHere ? readdirSync(folder).filter((name) => /\.pcap(ng)?$/.test(name)) : [];
const hasTshark = isHere && isInstalled('tshark') && isInstalled('mergecap');

interface Packet {
  readonly file: string;
  readonly number: number;
  readonly words: Int32Array;
  readonly linkType: number;
  readonly time: string;
}

describe('captures of the tcpdump project (../shared/captures)', () => {
  test.skipIf(!isHere)('every packet has exactly one status, and no file stops the reader', async () => {
    const byStatus = new Array<number>(record.DECODE_STATUS_COUNT).fill(0);
    let packetsRead = 0;
    for (const name of files) {
      const reader = await openCapture(join(folder, name));
      for (const packet of await decodeAll(name, reader)) byStatus[packet.words[record.PACKET_STATUS]!]!++;
      packetsRead += reader.packetsRead;
      expect(reader.error).toBeUndefined();
      reader.close();
    }
    expect(files.length).toBeGreaterThan(300);
    expect(byStatus.reduce((sum, count) => sum + count, 0)).toBe(packetsRead);
    // Each kind occurs in them, so the sum above means something.
    expect(byStatus.every((count) => count > 0)).toBe(true);
  });

  test.skipIf(!hasTshark)('addresses, ports and times are those of tshark (needs tshark, mergecap)', async () => {
    const packets: Packet[] = [];
    const used: string[] = [];
    for (const name of files) {
      const reader = await openCapture(join(folder, name));
      const found = await decodeAll(name, reader);
      reader.close();
      if (found.length === 0 || !found.every((packet) => isSupportedLinkType(packet.linkType))) continue;
      packets.push(...found);
      used.push(join(folder, name));
    }
    const rows = runTshark(used);
    expect(rows.length).toBe(packets.length);
    expect(packets.length).toBeGreaterThan(2000);
    const unexplained: string[] = [];
    const explained = new Set<string>();
    packets.forEach((packet, index) => {
      const ours = describeOurs(packet);
      const theirs = describeTheirs(rows[index]!, packet);
      if (ours === theirs) return;
      if (EXPLAINED.has(packet.file)) explained.add(packet.file);
      else unexplained.push(`${packet.file} ${packet.number}: ours ${ours}, tshark ${theirs}`);
    });
    expect(unexplained).toEqual([]);
    // An explanation that no longer explains anything must go.
    const stale = [...EXPLAINED.keys()].filter((name) => files.includes(name) && !explained.has(name));
    expect(stale).toEqual([]);
  });
});

/** Why a file differs; everything else must be equal. */
const EXPLAINED = new Map<string, string>([
  [
    'arista_ether.pcap',
    'an Arista header between Ethernet and IP: other-ethertype for a Linux node; tshark unwraps it',
  ],
  ['macsec-short-shorter.pcap', 'MACsec: other-ethertype; tshark shows the payload that is not encrypted'],
  ['nsh.pcap', 'a service header (NSH): other-ethertype; tshark unwraps it'],
  ['tok2str-oobr-2.pcap', 'MPLS: other-ethertype; tshark unwraps it'],
  [
    'bigtcp-ipv6.pcap',
    'BIG TCP leaves the IPv6 payload length 0; tshark 4.0 stops there, we use the length of the frame',
  ],
  ['bigtcp-ipv6-vxlan-ipv6.pcap', 'the same inside'],
  ['ipv4_invalid_length.pcap', 'the frame ends inside the IPv4 header: malformed; tshark still shows the source'],
  ['ipv6_invalid_length.pcap', 'the frame ends inside the IPv6 header: malformed; tshark still shows the source'],
]);

async function decodeAll(file: string, reader: CaptureReader): Promise<Packet[]> {
  const batch = createRecordBatch();
  const out = new Int32Array(record.PACKET_WORDS * batch.offsets.length);
  const packets: Packet[] = [];
  do {
    for (let count = reader.next(batch); count > 0; count = reader.next(batch)) {
      out.fill(-1);
      decodeBatch(batch.view, batch.offsets, batch.capturedBytes, batch.wireBytes, batch.linkTypes, count, out);
      for (let row = 0; row < count; row++) {
        packets.push({
          file,
          number: packets.length + 1,
          words: out.slice(row * record.PACKET_WORDS, (row + 1) * record.PACKET_WORDS),
          linkType: batch.linkTypes[row]!,
          time: `${batch.seconds[row]!}.${String(batch.nanos[row]!).padStart(9, '0')}`,
        });
      }
    }
  } while (await reader.fill());
  return packets;
}

/** The transport fields that tshark has for a protocol, as places in FIELDS. */
const PORT_FIELDS = new Map<number, [number, number]>([
  [6, [5, 6]],
  [17, [7, 8]],
  [136, [7, 8]],
  [1, [9, 10]],
  [58, [11, 12]],
  [132, [13, 14]],
]);

const FIELDS = [
  'frame.time_epoch',
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'tcp.srcport',
  'tcp.dstport',
  'udp.srcport',
  'udp.dstport',
  'icmp.type',
  'icmp.code',
  'icmpv6.type',
  'icmpv6.code',
  'sctp.srcport',
  'sctp.dstport',
  'frame.protocols',
];

/** All files merged in order (mergecap keeps the link type of each) through one run of tshark; first occurrences. */
function runTshark(paths: readonly string[]): string[][] {
  const scratch = mkdtempSync(join(tmpdir(), 'margay-tshark-'));
  try {
    const merged = join(scratch, 'merged.pcapng');
    execFileSync('mergecap', ['-a', '-F', 'pcapng', '-w', merged, ...paths], { stdio: 'ignore' });
    const options = ['-n', '-r', merged, '-T', 'fields', '-E', 'occurrence=f', '-E', 'separator=|'];
    options.push('-o', 'ip.defragment:FALSE', '-o', 'ipv6.defragment:FALSE', '-o', 'ip.tso_support:TRUE');
    for (const field of FIELDS) options.push('-e', field);
    const text = execFileSync('tshark', options, {
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'ignore'],
    }).toString();
    return text
      .trimEnd()
      .split('\n')
      .map((line) => line.split('|'));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function describeOurs({ words, time }: Packet): string {
  if (words[record.PACKET_STATUS] !== record.DECODE_OK) return `${time} no addresses`;
  const flags = words[record.PACKET_FLAGS]!;
  const version = (flags & record.FLAG_IPV6) !== 0 ? 6 : 4;
  const ends = [record.PACKET_SRC, record.PACKET_DST].map((at) =>
    formatAddress({ version, words: [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!] }),
  );
  const hasPorts = (flags & record.FLAG_L4_PORTS) !== 0;
  const ports = hasPorts ? `${words[record.PACKET_SRC_PORT]} ${words[record.PACKET_DST_PORT]}` : 'no ports';
  return `${time} ${ends.join(' ')} ${ports}`;
}

/** tshark's view in the same form; the transport fields are those of the protocol that we found. */
function describeTheirs(fields: readonly string[], packet: Packet): string {
  // The outer IP layer is the one that the list of protocols names first.
  const layer = /(?:^|:)(ip|ipv6)(?::|$)/.exec(fields[15]!)?.[1];
  const [src, dst] = layer === 'ipv6' ? [fields[3], fields[4]] : [fields[1], fields[2]];
  const time = fields[0]!;
  if (layer === undefined || (src === '' && dst === '')) return `${time} no addresses`;
  const places = PORT_FIELDS.get(packet.words[record.PACKET_PROTOCOL]!);
  const first = places === undefined ? '' : fields[places[0]]!;
  const ports = places === undefined || first === '' ? 'no ports' : `${first} ${fields[places[1]]}`;
  return `${time} ${src} ${dst} ${ports}`;
}

function isInstalled(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
