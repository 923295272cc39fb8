/** What a record says, read back: the flow that `evaluateFlow` and `explain` take, and the check that decided. */
import type { CheckRecord, Flow } from '../model/flow.ts';
import type { FlowRecord } from './record.ts';

type FiveTuple = Pick<
  FlowRecord,
  'proto' | 'source_ip' | 'dest_ip' | 'source_port' | 'dest_port' | 'icmp_type' | 'icmp_code'
>;

/** The flow of a record; undefined where its addresses could not be read or its ports were not seen. */
export function flowOfRecord(record: Partial<FiveTuple>): Flow | undefined {
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

/** The check that decided, if one ran. */
export function decidingCheck(
  record: Partial<Pick<FlowRecord, 'direction' | 'egress' | 'ingress' | 'forward' | 'untracked' | 'prednat'>>,
): CheckRecord | undefined {
  switch (record.direction) {
    case 'egress':
    case 'ingress':
    case 'forward':
    case 'untracked':
    case 'prednat':
      return record[record.direction];
    default:
      return undefined;
  }
}
