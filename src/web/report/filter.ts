/** Which connections of a report are listed. Pure. */

import type { FindingKind, ObservedColumn, Predicted, ReportConnection } from '../../analyze/report-data.ts';

export interface ConnectionFilter {
  /** Words, each of which must be somewhere in the connection. */
  readonly text: string;
  readonly predicted: Predicted | '';
  readonly observed: ObservedColumn | '';
  readonly finding: FindingKind | '';
}

export const NO_FILTER: ConnectionFilter = { text: '', predicted: '', observed: '', finding: '' };

/** All text of each connection in lower case, made once: a filter over thousands answers while somebody types. */
export function searchTexts(connections: readonly ReportConnection[]): readonly string[] {
  return connections.map((connection) =>
    [
      `#${connection.id}`,
      connection.proto,
      ...endTexts(connection.source),
      ...endTexts(connection.dest),
      serviceOf(connection),
      connection.predicted,
      connection.observed,
      connection.outcome,
      connection.reason,
      connection.direction,
      connection.rule,
      connection.finding,
      connection.text,
      ...connection.traces.flatMap(({ trace }) => trace),
      ...connection.causes.map(({ text }) => text),
    ]
      .filter((text) => text !== undefined)
      .join('\n')
      .toLowerCase(),
  );
}

function endTexts(end: ReportConnection['source']): string[] {
  const account = end.service_account === undefined ? '' : `${end.namespace ?? ''}/${end.service_account}`;
  const labels = Object.entries(end.labels ?? {}).map(([name, value]) => `${name}=${value}`);
  return [end.ip, String(end.port ?? ''), end.namespace ?? '', end.name ?? '', account, ...labels];
}

/** `tcp/5432`, `icmp 8/0`, `gre`. */
export function serviceOf(connection: ReportConnection): string {
  const { proto, icmp_type, icmp_code, dest } = connection;
  if (icmp_type !== undefined) return `${proto} ${icmp_type}/${icmp_code ?? 0}`;
  return dest.port === undefined ? proto : `${proto}/${dest.port}`;
}

/** @param texts of `searchTexts`, beside `connections` */
export function filterConnections(
  connections: readonly ReportConnection[],
  texts: readonly string[],
  filter: ConnectionFilter,
): readonly ReportConnection[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  return connections.filter(
    (connection, index) =>
      (filter.predicted === '' || connection.predicted === filter.predicted) &&
      (filter.observed === '' || connection.observed === filter.observed) &&
      (filter.finding === '' || connection.finding === filter.finding) &&
      words.every((word) => texts[index]!.includes(word)),
  );
}
