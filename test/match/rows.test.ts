/** The corner-case table of the semantics (section 9), row by row, through the compiled tables. */
import { describe, expect, test } from 'vitest';
import { evaluateFlow, protocolNumber } from '../../src/analyze/evaluate-flow.ts';
import type { FlowRecord } from '../../src/analyze/record.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { packetBytes, replayPackets, type Sent } from '../analyze/replay-packets.ts';
import type { RowCase, RowFlow, RowPacket } from '../rows/row.ts';
import { ROWS } from '../rows/rows.ts';

const WITH_FLOWS = ROWS.filter(({ flows = [] }) => flows.length > 0);

describe.each(WITH_FLOWS)('row $row: $title', (entry) => {
  test('flows', () => {
    const tables = tablesOf(entry);
    const flows = entry.flows!;
    expect(flows.map((wanted) => answerLike(wanted, evaluateFlow(tables, wanted.flow)))).toEqual(flows);
  });
});

describe.each(ROWS.filter(({ packets }) => packets !== undefined))('row $row: $title', (entry) => {
  test('packets', async () => {
    const packets = entry.packets!;
    const lines = await replayPackets(tablesOf(entry), packets.map(sentOf));
    const answers = packets.map((packet, index) => {
      const { action, reason } = lines[index]!;
      return { ...packet, expect: action, ...(packet.reason === undefined ? {} : { reason }) };
    });
    expect(answers).toEqual(packets);
  });
});

/** The packet as it goes over the wire. */
function sentOf({ src, dst, protocol, src_port, dst_port, icmp_type, icmp_code, tcp_flags, quoted }: RowPacket): Sent {
  return {
    src,
    dst,
    protocol: protocolNumber(protocol ?? 'tcp'),
    ...(src_port === undefined ? {} : { srcPort: src_port }),
    ...(dst_port === undefined ? {} : { dstPort: dst_port }),
    ...(icmp_type === undefined ? {} : { icmpType: icmp_type }),
    ...(icmp_code === undefined ? {} : { icmpCode: icmp_code }),
    ...(tcp_flags === undefined ? {} : { tcpFlags: tcp_flags, tcpWindow: 1000 }),
    ...(quoted === undefined ? {} : { payload: packetBytes(sentOf({ ...quoted, expect: 'allow' })) }),
  };
}

function tablesOf({ resources, permissive, asIs }: RowCase): Tables {
  const options = { permissive: permissive === true, asIs: asIs === true };
  const loaded = loadResources([{ name: 'row.yaml', text: resources }], options);
  expect(loaded.errors).toEqual([]);
  return openTables(compile(loaded.resources));
}

/** The record in the form of what is wanted: only what the row speaks of. */
function answerLike(wanted: RowFlow, record: FlowRecord): RowFlow {
  const { egress, ingress, forward, reason = '' } = record;
  return {
    flow: wanted.flow,
    expect: record.action as RowFlow['expect'],
    ...(wanted.reason !== undefined && { reason }),
    ...(wanted.egress !== undefined && egress && { egress: egress.trace }),
    ...(wanted.ingress !== undefined && ingress && { ingress: ingress.trace }),
    ...(wanted.forward !== undefined && forward && { forward: forward.trace }),
  };
}
