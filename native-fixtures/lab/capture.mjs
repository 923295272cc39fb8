/**
 * Recording: one tcpdump per sender, merged into one pcapng in the order of time.
 *
 * A packet that crosses two nodes passes six devices. To have each exactly once, it is taken where it leaves its sender: from a pod or
 * an outside machine on the other end of its cable (`-Q in`), from a node's own processes on the device they send through
 * (`-Q out`, restricted to the node's addresses). So a packet that is lost on its way is in the capture too. All clocks are the one
 * kernel's, in nanoseconds.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './netns.mjs';

/** Multicast is left out: listener reports and neighbour discovery of the lab's own making, which tell nothing about policy. */
const FILTER = 'arp or (ip and not ip multicast) or (ip6 and not ip6 multicast)';
/** tcpdump writes a packet out as it comes (`-U`); this is for the kernel to hand over the last ones. */
const SETTLE_MS = 300;

/**
 * Starts recording at every tap of `buildClusterNet`.
 *
 * @returns {Promise<{ stop: (file: string) => Promise<void> }>}  `stop` ends the recording and writes the merged pcapng
 * @throws Error if the kernel dropped packets before tcpdump saw them
 */
export async function startCapture(lab, taps) {
  const recorders = [];
  for (const [index, tap] of taps.entries()) {
    const file = join(lab.directory, `tap-${index}.pcap`);
    const sources = tap.sources.map((address) => `src host ${address}`).join(' or ');
    const filter = sources ? `(${FILTER}) and (${sources})` : FILTER;
    const argv = ['tcpdump', '-i', tap.device, '-Q', tap.direction, '-n', '-U', '-Z', 'root', '--immediate-mode'];
    argv.push('--time-stamp-precision=nano', '-w', file, filter);
    recorders.push({ file, process: await lab.start(tap.netns, argv, /listening on/) });
  }
  return { stop: (file) => stopCapture(recorders, file) };
}

async function stopCapture(recorders, file) {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  for (const recorder of recorders) {
    await recorder.process.stop('SIGINT');
    const dropped = /(\d+) packets dropped by kernel/.exec(recorder.process.output());
    if (dropped?.[1] !== '0') throw new Error(`incomplete recording:\n${recorder.process.output()}`);
  }
  await run(['mergecap', '-F', 'pcapng', '-w', file, ...recorders.map((recorder) => recorder.file)]);
}

/** Puts TLS secrets into a pcapng as a decryption secrets block, before its packets. */
export async function embedSecrets(file, secrets) {
  const embedded = `${file}.secrets`;
  await run(['editcap', '-F', 'pcapng', '--inject-secrets', `tls,${secrets}`, file, embedded]);
  renameSync(embedded, file);
}

const FIELDS = [
  'frame.number',
  'frame.len',
  'eth.type',
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'tcp.srcport',
  'tcp.dstport',
  'tcp.flags.reset',
  'udp.srcport',
  'udp.dstport',
  'icmp.type',
  'icmp.ident',
  'icmpv6.type',
  'icmpv6.echo.identifier',
  'ip.checksum.status',
  'tcp.checksum.status',
  'udp.checksum.status',
  'icmp.checksum.status',
  'icmpv6.checksum.status',
];

const CHECKSUM_BAD = '0';

/**
 * The packets of a capture as Wireshark decodes them.
 *
 * @returns {Promise<{ number: number, proto: string, src: string, dst: string, srcPort: number, dstPort: number, isReset: boolean,
 *   icmpType: number, icmpId: number, hasBadChecksum: boolean }[]>}  fields that a packet lacks are '' or NaN; proto `other` if not IP
 */
export async function readCapture(file) {
  const checks = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
  const argv = ['tshark', '-n', '-r', file, ...checks, '-T', 'fields', ...FIELDS.flatMap((field) => ['-e', field])];
  const { stdout } = await run(argv);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map(parsePacket);
}

function parsePacket(line) {
  const values = line.split('\t');
  const packet = Object.fromEntries(FIELDS.map((field, index) => [field, values[index] ?? '']));
  const number = (...names) => {
    const name = names.find((each) => packet[each] !== '');
    return name === undefined ? Number.NaN : Number(packet[name]);
  };
  let proto = 'other';
  if (packet['tcp.srcport'] !== '') proto = 'tcp';
  else if (packet['udp.srcport'] !== '') proto = 'udp';
  else if (packet['icmp.type'] !== '') proto = 'icmp';
  else if (packet['icmpv6.type'] !== '') proto = 'icmpv6';
  return {
    number: Number(packet['frame.number']),
    etherType: packet['eth.type'],
    proto,
    src: packet['ip.src'] || packet['ipv6.src'],
    dst: packet['ip.dst'] || packet['ipv6.dst'],
    srcPort: number('tcp.srcport', 'udp.srcport'),
    dstPort: number('tcp.dstport', 'udp.dstport'),
    isReset: packet['tcp.flags.reset'] === '1' || packet['tcp.flags.reset'] === 'True',
    icmpType: number('icmp.type', 'icmpv6.type'),
    icmpId: number('icmp.ident', 'icmpv6.echo.identifier'),
    hasBadChecksum: Object.entries(packet).some(
      ([name, value]) => name.endsWith('checksum.status') && value === CHECKSUM_BAD,
    ),
  };
}
