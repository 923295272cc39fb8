/** From a record back to the flow that `evaluateFlow` and `explain` take. */
import type { FlowRecord } from '../analyze/record.ts';
import type { Flow } from '../model/flow.ts';

/** The flow of a record; undefined where its addresses could not be read or its ports were not seen. */
export function flowOfRecord(record: Partial<FlowRecord>): Flow | undefined {
  const { proto, source_ip, dest_ip, source_port, dest_port, icmp_type, icmp_code } = record;
  if (proto === undefined || source_ip === undefined || dest_ip === undefined) return undefined;
  if (['tcp', 'udp', 'sctp'].includes(proto) && dest_port === undefined) return undefined;
  return {
    src: source_ip,
    dst: dest_ip,
    protocol: proto,
    ...(source_port === undefined ? {} : { src_port: source_port }),
    ...(dest_port === undefined ? {} : { dst_port: dest_port }),
    ...(icmp_type === undefined ? {} : { icmp_type }),
    ...(icmp_code === undefined ? {} : { icmp_code }),
  };
}
