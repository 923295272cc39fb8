/**
 * What every verb prints, to be read by people: one file an invocation under test/goldens/cli, the command on its first line.
 * Written anew by `npm run test:update`.
 */
import { describe, expect, test } from 'vitest';
import { capture, LESSONS, lesson, margay } from './support.ts';

const DEMO = ['--src', 'prod-engineering/web-0', '--dst', 'prod-engineering/db-0', '--port', '5432'];
const FLOWS = ['--flows', 'test/cli/data/flows.jsonl'];

const ENFORCEMENT = [
  ...lesson('enforcement'),
  ...['node-1', 'node-2'].flatMap((node) => ['-r', `node:${node}=pcaps/enforcement/${node}.pcapng`]),
];

const VERBS = [
  'replay',
  'verify',
  'explain',
  'eval',
  'validate',
  'compile',
  'get',
  'factors',
  'identities',
  'schema',
  'worker',
] as const;

const CASES: readonly (readonly [file: string, args: readonly string[]])[] = [
  ['help', ['--help']],
  ...VERBS.map((verb) => [`help-${verb}`, [verb, '--help']] as const),
  ...['dump', 'load', 'show', 'watch', 'publish'].map(
    (verb) => [`help-identities-${verb}`, ['identities', verb, '--help']] as const,
  ),
  ['identities-show', ['identities', 'show', ...lesson('sa-names')]],
  ['identities-dump', ['identities', 'dump', ...lesson('sa-names')]],
  ['validate', ['validate', ...lesson('sa-labels')]],
  ['validate-bad', ['validate', '-f', 'test/cli/data/bad.yaml']],
  ['validate-bad-json', ['validate', '-f', 'test/cli/data/bad.yaml', '-o', 'json']],
  ['validate-bad-csv', ['validate', '-f', 'test/cli/data/bad.yaml', '-o', 'csv']],
  ['compile', ['compile', ...lesson('tiers')]],
  ['compile-json', ['compile', ...lesson('sa-names'), '-o', 'json']],
  ['compile-yaml', ['compile', ...lesson('sa-names'), '-o', 'yaml']],
  ...['endpoints', 'ipsets', 'policies', 'tiers', 'serviceaccounts'].flatMap((what) => [
    [`get-${what}`, ['get', what, ...lesson('tiers')]] as const,
    [`get-${what}-wide`, ['get', what, ...lesson('tiers'), '-o', 'wide']] as const,
  ]),
  ['get-named-yaml', ['get', 'ep', 'shop/web-0', ...lesson('tiers'), '-o', 'yaml']],
  ['get-namespace-csv', ['get', 'endpoints', ...lesson('tiers'), '-n', 'lab', '-o', 'csv']],
  ['get-policy-json', ['get', 'policies', 'np:shop/web-clients', ...lesson('tiers'), '-o', 'json']],
  ['eval', ['eval', ...lesson('sa-names'), ...DEMO]],
  ['eval-json', ['eval', ...lesson('sa-names'), ...DEMO, '-o', 'json']],
  ['eval-flows', ['eval', ...lesson('sa-names'), ...FLOWS]],
  ['eval-flows-jsonl', ['eval', ...lesson('sa-names'), ...FLOWS, '-o', 'jsonl']],
  ['eval-flows-csv', ['eval', ...lesson('sa-names'), ...FLOWS, '-o', 'csv']],
  ['explain-deny', ['explain', ...lesson('sa-names'), ...DEMO]],
  ['explain-deny-json', ['explain', ...lesson('sa-names'), ...DEMO, '-o', 'json']],
  ['explain-label', ['explain', ...capture('sa-labels'), '--packet', '30']],
  [
    'explain-pass',
    ['explain', ...lesson('tiers'), '--src', 'shop/batch-0', '--dst', 'shop/payments-0', '--port', '8080'],
  ],
  [
    'explain-icmp',
    [
      'explain',
      ...lesson('sa-names'),
      '--src',
      'prod-engineering/api-0',
      '--dst',
      'prod-engineering/db-0',
      '--proto',
      'icmp',
    ],
  ],
  [
    'explain-outside',
    ['explain', ...lesson('tiers'), '--src', '203.0.113.50', '--dst', 'shop/web-0', '--port', '8080'],
  ],
  ['explain-arp', ['explain', ...capture('sa-names'), '--packet', '1']],
  ...LESSONS.map((name) => [`replay-${name}`, ['replay', ...capture(name)]] as const),
  ['verify', ['verify', ...ENFORCEMENT]],
  ['verify-wide', ['verify', ...ENFORCEMENT, '-o', 'wide']],
  ['verify-md', ['verify', ...ENFORCEMENT, '-o', 'md']],
  ['verify-junit', ['verify', ...ENFORCEMENT, '-o', 'junit']],
  ['verify-one-capture', ['verify', ...lesson('enforcement'), '-r', 'pcaps/enforcement/node-2.pcapng']],
  ['verify-tiers', ['verify', ...capture('tiers')]],
  ['replay-wide', ['replay', ...capture('tiers'), '-o', 'wide']],
  ['replay-csv', ['replay', ...capture('sa-selector'), '-o', 'csv']],
  ['replay-json', ['replay', ...capture('sa-names'), '-o', 'json']],
  ['replay-jsonl', ['replay', ...capture('sa-labels'), '-o', 'jsonl']],
  ['replay-packets', ['replay', ...capture('sa-names'), '--packets']],
  ['replay-packets-jsonl', ['replay', ...capture('sa-names'), '--packets', '-o', 'jsonl']],
  ['replay-summary', ['replay', ...capture('tiers'), '--summary']],
  ['replay-summary-json', ['replay', ...capture('tiers'), '--summary', '-o', 'json']],
  ['replay-node', ['replay', ...capture('sa-names'), '--node', 'node-1']],
  ['replay-stateless', ['replay', ...capture('sa-names'), '--stateless', '--summary']],
  ['replay-check', ['replay', ...capture('tiers'), '--check', '--summary']],
];

describe('output of', () => {
  test.each(CASES)('%s', async (file, args) => {
    const { code, stdout, stderr } = await margay(args);
    const shown = args.map((word) => (/^[\w./:=-]+$/.test(word) ? word : `'${word}'`)).join(' ');
    const parts = [`$ margay ${shown}`, `exit code ${code}`, '', stdout];
    if (stderr !== '') parts.push('--- standard error', stderr);
    await expect(parts.join('\n')).toMatchFileSnapshot(`../goldens/cli/${file}.txt`);
  });
});
