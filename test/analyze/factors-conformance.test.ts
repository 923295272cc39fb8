/**
 * The walk by both factors against Calico's own second layer: every request of the conformance worlds that shows a certificate of an
 * account and carries no HTTP request must be answered as Calico's code answered it. (Without a certificate we differ on purpose:
 * Calico falls back to the address, `both` does not.)
 */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { parseSpiffeAccount } from '../../src/analyze/factors-certificate.ts';
import { RuleBook } from '../../src/analyze/factors-rules.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables } from '../../src/tables/tables.ts';

const WORLDS = 'test/conformance/worlds';

interface Request {
  readonly id: string;
  readonly src: string;
  readonly src_port: number;
  readonly dst: string;
  readonly dst_port: number;
  readonly protocol?: string | number;
  readonly source_principal?: string;
  readonly http_method?: string;
  readonly http_path?: string;
  readonly expect: string;
}

test('some hundred requests with certificates are answered as Calico answers them', () => {
  let asked = 0;
  let denied = 0;
  for (const world of readdirSync(WORLDS)) {
    const { resources } = loadResources([
      { name: 'cluster.yaml', text: readFileSync(`${WORLDS}/${world}/cluster.yaml`, 'utf8') },
    ]);
    const plan = planCluster(resources);
    const book = new RuleBook(plan);
    const tables = openTables(packPlan(plan, {}));
    for (const line of readFileSync(`${WORLDS}/${world}/authz.jsonl`, 'utf8').trim().split('\n')) {
      const request = JSON.parse(line) as Request;
      const account = parseSpiffeAccount(request.source_principal ?? '');
      if (account === undefined || request.http_method !== undefined || request.http_path !== undefined) continue;
      const { src, src_port, dst, dst_port, protocol = 'tcp' } = request;
      const met = book.meet(evaluateFlow(tables, { src, src_port, dst, dst_port, protocol }));
      if (met === undefined) continue;
      const answer = book.byBoth(met, account);
      expect(`${world} ${request.id} ${answer}`).toBe(
        `${world} ${request.id} ${request.expect === 'OK' ? 'allow' : 'deny'}`,
      );
      asked++;
      if (answer === 'deny') denied++;
    }
  }
  expect(asked).toBeGreaterThan(400);
  expect(denied).toBeGreaterThan(100);
});
