/** Records and updates of flows for tests. */

import type { FlowUpdate } from '../../src/agent/engine.ts';
import type { ConnectionRecord } from '../../src/analyze/connections.ts';

export function record(parts: Partial<ConnectionRecord> = {}): ConnectionRecord {
  return {
    start_time: '2026-01-01T00:00:00.000000Z',
    end_time: '2026-01-01T00:00:01.000000Z',
    proto: 'tcp',
    source_ip: '10.0.0.1',
    source_port: 40_000,
    dest_ip: '10.0.0.2',
    dest_port: 5432,
    source_type: 'wep',
    source_namespace: 'shop',
    source_name: 'web-0',
    source_service_account: 'web',
    source_labels: { app: 'web' },
    dest_type: 'wep',
    dest_namespace: 'shop',
    dest_name: 'db-0',
    dest_service_account: 'db',
    dest_labels: { app: 'db' },
    action: 'deny',
    reason: 'end-of-tier',
    direction: 'ingress',
    egress: { action: 'allow', trace: ['0|__PROFILE__|pro:kns.shop|allow|0'] },
    ingress: { action: 'deny', trace: ['0|default|np:shop/db|deny|-1'], rule: 'a.yaml:1', selected_by: ['np:shop/db'] },
    first_packet: 1,
    packets: 3,
    bytes: 222,
    observed: 'no-answer',
    community_id: '1:x',
    ...parts,
  };
}

export function update(id: string, parts: Partial<ConnectionRecord> = {}, more: Partial<FlowUpdate> = {}): FlowUpdate {
  return { id, isOpen: true, generation: 7, record: record(parts), ...more };
}
