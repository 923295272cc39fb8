/** Counts over all records of `margay factors`. */
import type { CaptureSource } from './factors-capture.ts';
import type { FactorsRecord, FactorsTotals, FindingName, Gap, GapName } from './factors-record.ts';

/** @param common  gaps of no single record; @param flows  of the captures, those without a record too */
export function totalsOf(
  records: readonly FactorsRecord[],
  common: readonly Gap[],
  flows: number,
  sources: readonly CaptureSource[],
): FactorsTotals {
  const count = (test: (record: FactorsRecord) => boolean): number => records.filter(test).length;
  const findings: Partial<Record<FindingName, number>> = {};
  const gaps: Partial<Record<GapName, number>> = {};
  for (const each of records) {
    for (const { name } of each.findings) findings[name] = (findings[name] ?? 0) + 1;
    for (const { name } of each.gaps) gaps[name] = (gaps[name] ?? 0) + 1;
  }
  for (const { name } of common) gaps[name] = (gaps[name] ?? 0) + 1;
  return {
    packets: sources.reduce((sum, { packets }) => sum + packets, 0),
    flows,
    shown: records.length,
    by_factors: {
      '2 of 2': count(({ factors }) => factors === '2 of 2'),
      '1 of 2': count(({ factors }) => factors === '1 of 2'),
      '0 of 2': count(({ factors }) => factors === '0 of 2'),
    },
    findings,
    gaps,
    opened_by_address_alone: count(({ verdicts }) => verdicts.address === 'allow' && verdicts.both === 'deny'),
    opened_by_certificate_alone: count(({ verdicts }) => verdicts.certificate === 'allow' && verdicts.both === 'deny'),
    hbone: count(({ hbone }) => hbone === true),
    refused_by_peer_authentication: count(({ peer_authentication: peer }) => peer?.refuses !== undefined),
  };
}
