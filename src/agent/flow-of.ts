/** From a record back to the flow that policies can be asked about. */
import type { Flow } from '../model/flow.ts';
import type { ApiRecord } from './api.ts';

/** Undefined where addresses or ports were not seen. */
export function flowOf(record: ApiRecord): Flow | undefined {
  const { proto, source_ip, dest_ip, source_port, dest_port, icmp_type, icmp_code } = record;
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
