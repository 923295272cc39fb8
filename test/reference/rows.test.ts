/** The corner-case table of the semantics (section 9), row by row, through the reference. */
import { describe, expect, test } from 'vitest';
import { loadResources } from '../../src/load/load.ts';
import type { Flow } from '../../src/model/flow.ts';
import { createReferenceTracker, type TrackerTuple } from '../../src/reference/conntrack.ts';
import { createReference, type Reference, type ReferenceVerdict } from '../../src/reference/evaluate.ts';
import { packetOfFlow } from '../../src/reference/packet.ts';
import type { RowCase, RowFlow } from '../rows/row.ts';
import { INTERFACE_ROWS, ROWS } from '../rows/rows.ts';
import { AUTHZ_ROWS } from '../rows/rows-authz.ts';

test('every row from 1 to 118 has a case here, in test/authz or in test/analyze', () => {
  const rows = new Set([...ROWS, ...AUTHZ_ROWS].map(({ row }) => row).concat([...INTERFACE_ROWS.keys()]));
  expect([...rows].sort((a, b) => a - b)).toEqual(Array.from({ length: 118 }, (_, index) => index + 1));
});

describe.each(ROWS)('row $row: $title', (entry) => {
  test('flows', () => {
    const reference = referenceOf(entry);
    const { flows = [], packets = [] } = entry;
    expect(flows.length + packets.length).toBeGreaterThan(0);
    const answers = flows.map((wanted) => answerLike(wanted, reference.evaluate(wanted.flow)));
    expect(answers).toEqual(flows);
  });
  if (entry.packets === undefined) return;
  test('packets', () => {
    const reference = referenceOf(entry);
    const tracker = createReferenceTracker(reference);
    const answers = entry.packets!.map((packet, index) => {
      const { tcp_flags: tcpFlags = 0, quoted } = packet;
      const verdict = tracker.packet({
        ...tupleOf(packet, reference),
        timeMs: index,
        tcpFlags,
        ...(tcpFlags === 0 ? {} : { window: 1000 }),
        ...(quoted && { quoted: tupleOf(quoted, reference) }),
      });
      return { ...packet, expect: verdict.action, ...(packet.reason === undefined ? {} : { reason: verdict.reason }) };
    });
    expect(answers).toEqual(entry.packets);
  });
});

function referenceOf({ resources, permissive, asIs }: RowCase): Reference {
  const loaded = loadResources([{ name: 'row.yaml', text: resources }], {
    permissive: permissive === true,
    asIs: asIs === true,
  });
  expect(loaded.errors).toEqual([]);
  return createReference(loaded.resources);
}

/** The verdict in the form of what is wanted: only what the row speaks of. */
function answerLike(wanted: RowFlow, verdict: ReferenceVerdict): RowFlow {
  const { egress, ingress, forward } = verdict;
  return {
    flow: wanted.flow,
    expect: verdict.action,
    ...(wanted.reason !== undefined && { reason: verdict.reason }),
    ...(wanted.egress !== undefined && egress && { egress: egress.trace }),
    ...(wanted.ingress !== undefined && ingress && { ingress: ingress.trace }),
    ...(wanted.forward !== undefined && forward && { forward: forward.trace }),
  };
}

function tupleOf(flow: Flow, reference: Reference): TrackerTuple {
  const { src, dst, protocol, srcPort, dstPort, icmpType, icmpCode } = packetOfFlow(flow, reference.addresses);
  return { src: src.text, dst: dst.text, protocol, srcPort, dstPort, icmpType, icmpCode };
}
