/**
 * Whole replays of one shape: the CLI with the full policy on every packet, and peers that merely read the same file, in turn.
 *
 * Time a packet is the difference to the same replay of an empty capture (loading and compiling the cluster), so that it can be compared with
 * tools that load no policy; the whole is printed as well.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Measurement, measured } from './measurement.ts';
import type { Prepared } from './prepare.ts';
import { isInstalled, runProcess } from './process.ts';

export function runEndToEnd(prepared: Prepared, runs: number, withPeers: boolean): Measurement[] {
  const { scenario, cluster, capture, packets } = prepared;
  const folder = mkdtempSync(join(tmpdir(), 'margay-bench-'));
  try {
    const empty = join(folder, 'empty.pcap');
    writeFileSync(empty, emptyCapture());
    const replay = (file: string): string[] => [
      'dist/cli/main.js',
      'replay',
      '--summary',
      '--stateless',
      '--exit-zero',
      '-o',
      'json',
      '-f',
      cluster,
      '-r',
      file,
    ];
    const hasTcpdump = withPeers && isInstalled('tcpdump');
    if (withPeers && !hasTcpdump) process.stderr.write('tcpdump is not installed: skipped (apt-get install tcpdump)\n');
    const samples = { ours: [] as number[], load: [] as number[], resident: [] as number[], peer: [] as number[] };
    checkAnswer(runProcess('node', replay(capture)).stdout, packets);
    for (let run = 0; run < runs; run++) {
      const whole = runProcess('node', replay(capture));
      const load = runProcess('node', replay(empty));
      samples.ours.push(((whole.seconds - load.seconds) * 1e9) / packets);
      samples.load.push(load.seconds * 1000);
      samples.resident.push(whole.residentMb);
      if (hasTcpdump) {
        const peer = runProcess('tcpdump', ['-r', capture, '-w', '/dev/null', 'arp']);
        samples.peer.push((peer.seconds * 1e9) / packets);
      }
    }
    return report(scenario, samples, `node ${replay(capture).join(' ')}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Samples {
  readonly ours: readonly number[];
  readonly load: readonly number[];
  readonly resident: readonly number[];
  readonly peer: readonly number[];
}

function report(scenario: string, samples: Samples, command: string): Measurement[] {
  const rows = [
    measured(scenario, 'replay, both checks of every packet', 'ns/packet', samples.ours, { command }),
    measured(
      scenario,
      'the same as a rate',
      'packets/s',
      samples.ours.map((ns) => 1e9 / ns),
      {
        goal: 'above 2 000 000',
      },
    ),
    measured(scenario, 'load and compile the cluster, start to end', 'ms', samples.load),
    measured(scenario, 'largest resident set', 'MB', samples.resident, { goal: 'under 300' }),
  ];
  if (samples.peer.length === 0) return rows;
  return [
    ...rows,
    measured(scenario, 'tcpdump -w /dev/null arp', 'ns/packet', samples.peer),
    measured(
      scenario,
      'tcpdump reading : replay',
      'x',
      samples.peer.map((ns, i) => ns / samples.ours[i]!),
    ),
  ];
}

/** Nothing is timed that judges less: every packet must have a verdict. */
function checkAnswer(stdout: string, packets: number): void {
  const { totals } = JSON.parse(stdout) as { totals: { packets: number; allow: number; deny: number } };
  if (totals.packets !== packets || totals.allow + totals.deny !== packets) {
    throw new Error(`the replay judged ${totals.allow + totals.deny} of ${packets} packets`);
  }
}

/** A classic pcap header of link type Ethernet and nothing behind it. */
function emptyCapture(): Uint8Array {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(262_144, 16);
  header.writeUInt32LE(1, 20);
  return header;
}
