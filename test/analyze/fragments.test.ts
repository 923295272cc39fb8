/** Fragments in a replay: a datagram that comes together while older ones are given up. */
import { expect, test } from 'vitest';
import { parseAddress } from '../../src/base/ip.ts';
import { buildFragments, wrapEthernet } from '../../src/packets/synthetic.ts';
import { type CaptureRecord, writePcap } from '../../src/packets/write.ts';
import { CLUSTER, DB, OUTSIDE } from '../rows/cluster.ts';
import { networkPolicy } from '../rows/objects.ts';
import { answers, replayBytes, tablesOf } from './replay-packets.ts';

const addressOf = (text: string): number => parseAddress(text)!.words[0];

/** Two fragments of a UDP datagram to `dst`. */
function datagram(dst: string, ipId: number): readonly [Uint8Array, Uint8Array] {
  const ends = { src: addressOf(OUTSIDE), dst: addressOf(dst), srcPort: 4000, dstPort: 53 };
  const parts = buildFragments({ ...ends, protocol: 17, ipId, payload: new Uint8Array(60) }, 48);
  expect(parts).toHaveLength(2);
  return [wrapEthernet(parts[0]!), wrapEthernet(parts[1]!)];
}

test('a fragment that makes older ones expire keeps its own addresses', async () => {
  const open = networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'], ingress: [{ action: 'Allow' }] });
  const [lost] = datagram('198.51.100.9', 1);
  const [first, second] = datagram(DB, 2);
  const at = (seconds: number, bytes: Uint8Array): CaptureRecord => ({ bytes, seconds });
  const capture = writePcap([at(1000, lost), at(1040, first), at(1041, second)]);
  for (const stateless of [false, true]) {
    const lines = await replayBytes(tablesOf([...CLUSTER, open]), capture, { stateless });
    expect(answers(lines)).toEqual(['unpoliced', 'allow', 'allow']);
    expect(lines.map(({ dest_ip }) => dest_ip)).toEqual(['198.51.100.9', DB, DB]);
  }
});
