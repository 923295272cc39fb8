/** What the user gets for mistakes: the text, one line each, and the exit code of design section 6. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capture, lesson, margay } from './support.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-cli-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const EVAL = ['eval', ...lesson('sa-names')];
const EXPLAIN = ['explain', ...lesson('sa-names')];

describe('usage errors end with exit code 2 and one line on', () => {
  test.each<[what: string, args: readonly string[], line: string]>([
    ['an unknown verb', ['replya'], "unknown command 'replya'\n(Did you mean replay?)"],
    ['an unknown option', ['replay', '--sumary'], "unknown option '--sumary'\n(Did you mean --summary?)"],
    ['a missing value', ['replay', '-r'], "option '-r, --read <capture>' argument missing"],
    [
      'an unknown format',
      ['validate', '-o', 'xml'],
      "option '-o, --output <format>' argument 'xml' is invalid. Allowed choices are table, json, yaml, csv.",
    ],
    [
      'no -f',
      ['compile'],
      '-f is missing: name the files or directories that hold the policies and pods of the cluster',
    ],
    ['no -r', ['replay', ...lesson('tiers')], '-r is missing: name the capture to judge, or - for standard input'],
    [
      'an absent manifest',
      ['validate', '-f', 'nowhere.yaml'],
      "'nowhere.yaml' does not exist; correct the path after -f",
    ],
    [
      'an absent capture',
      ['replay', ...lesson('tiers'), '-r', 'nowhere.pcap'],
      "'nowhere.pcap' does not exist; correct the path after -r",
    ],
    [
      'a directory as capture',
      ['replay', ...lesson('tiers'), '-r', 'pcaps'],
      "'pcaps' is a directory; name a capture inside it after -r",
    ],
    [
      'a directory without manifests',
      ['validate', '-f', 'pcaps'],
      "directory 'pcaps' holds no .yaml, .yml or .json file; use -R for subdirectories",
    ],
    [
      'an unknown kind to get',
      ['get', 'pods', ...lesson('tiers')],
      "get: there is no kind 'pods'; choose one of endpoints, ipsets, policies, tiers, serviceaccounts",
    ],
    ['a name that is not there', ['get', 'tiers', 'x', ...lesson('tiers')], "no tier 'x'"],
    ['get without a kind', ['get'], "missing required argument 'what'"],
    ['eval without ends', EVAL, '--src is missing: give the sender, an address or NAMESPACE/POD'],
    [
      'a pod without its namespace',
      [...EVAL, '--src', 'web-0', '--dst', '10.0.0.1'],
      "--src: there is no pod 'web-0'; did you mean prod-engineering/web-0?",
    ],
    [
      'an unknown pod',
      [...EVAL, '--src', '10.0.0.1', '--dst', 'a/b'],
      "--dst: 'a/b' is no IP address and no pod of the input; there are prod-engineering/api-0, prod-engineering/batch-0, prod-engineering/db-0, prod-engineering/user-auth-0, prod-engineering/web-0 and 1 more",
    ],
    [
      'ends of two IP versions',
      [...EVAL, '--src', '10.0.0.1', '--dst', 'fd00::1', '--port', '1'],
      '--src 10.0.0.1 and --dst fd00::1 have no IP version in common; choose other ends',
    ],
    [
      'a missing port',
      [...EVAL, '--src', '10.0.0.1', '--dst', '10.0.0.2'],
      'dst_port is missing; give the destination port',
    ],
    [
      'a port that is none',
      [...EVAL, '--port', '65536'],
      "option '--port, --dst-port <port>' argument '65536' is invalid. It must be a whole number from 0 to 65535.",
    ],
    [
      'a percentage that is none',
      [...EVAL, '--max-uncertain', '101'],
      "option '--max-uncertain <percent>' argument '101' is invalid. It must be a number from 0 to 100.",
    ],
    [
      'an unknown protocol',
      [...EVAL, '--src', '10.0.0.1', '--dst', '10.0.0.2', '--proto', 'tpc'],
      'unknown protocol "tpc"; use tcp, udp, icmp, icmpv6, sctp, udplite or a number from 0 to 255',
    ],
    [
      'an unknown node',
      ['replay', ...capture('sa-names'), '--node', 'node-9'],
      "--node: no Node, pod or host endpoint of the input names the node 'node-9'; it has node-1, node-2",
    ],
    [
      'flows and a flow',
      [...EVAL, '--flows', 'x', '--src', '10.0.0.1'],
      '--flows and the description of a single flow exclude each other',
    ],
    [
      'standard input twice',
      ['replay', '-f', '-', '-r', '-'],
      'standard input can be read once only; put one of the inputs given as - into a file',
    ],
    [
      'packets and summary',
      ['replay', ...capture('tiers'), '--packets', '--summary'],
      '--packets and --summary exclude each other: the one prints every packet, the other none',
    ],
    [
      'a packet of nothing',
      [...EXPLAIN, '--packet', '1'],
      '--packet is a number in a capture: name the capture with -r',
    ],
    [
      'a capture without packet',
      ['explain', ...capture('sa-names')],
      '--packet is missing: give the number of the packet in the capture',
    ],
    [
      'a packet behind the end',
      ['explain', ...capture('sa-names'), '--packet', '1000'],
      '--packet 1000: pcaps/sa-names/capture.pcapng has only 222 packets',
    ],
  ])('%s', async (_what, args, line) => {
    const { code, stdout, stderr } = await margay(args);
    expect(stderr).toBe(`margay: ${line}\n`);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  test('no verb at all, with the help', async () => {
    const { code, stdout, stderr } = await margay([]);
    expect(stderr).toContain('Usage: margay');
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });
});

test('every error of the input is printed, nothing is judged, exit code 2', async () => {
  const { code, stdout, stderr } = await margay(['compile', '-f', 'test/cli/data/bad.yaml']);
  expect(stderr.split('\n').filter((line) => /bad\.yaml:\d+/.test(line))).toHaveLength(3);
  expect(stderr).toContain('margay: 3 errors in the input; correct them first\n');
  expect(stdout).toBe('');
  expect(code).toBe(2);
});

test('the same object in two files: validate warns, verbs that judge refuse', async () => {
  const text = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n';
  const paths = ['one.yaml', 'two.yaml'].map((name) => join(folder, name));
  for (const path of paths) writeFileSync(path, text);
  const files = paths.flatMap((path) => ['-f', path]);
  const validated = await margay(['validate', ...files]);
  expect(validated.stdout).toContain('Namespace shop: the same object is already at');
  expect(validated.code).toBe(0);
  const compiled = await margay(['compile', ...files]);
  expect(compiled.stderr).toContain('Namespace shop: the same object is already at');
  expect(compiled.code).toBe(2);
});

test('control characters of names reach no terminal', async () => {
  const path = join(folder, 'escape.yaml');
  writeFileSync(
    path,
    `apiVersion: v1
kind: Pod
metadata: { name: p, namespace: n, labels: { app: "a" } }
spec: { nodeName: n1, serviceAccountName: s, containers: [] }
status: { podIP: 10.0.0.1 }
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: { name: g }
spec: { selector: "app == 'x\\e[31m\\nallow'", ingress: [{ action: Deny, source: { selector: "app == '\\e]0;owned\\a'" } }] }
`,
  );
  const verbs = [
    ['get', 'policies', '-o', 'wide', '-f', path],
    ['get', 'ipsets', '-f', path],
    ['explain', '--src', '10.0.0.1', '--dst', '10.0.0.1', '--port', '1', '-f', path],
    ['validate', '-f', path],
  ];
  for (const args of verbs) {
    const { stdout, stderr } = await margay(args);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
    expect(stdout + stderr, args.join(' ')).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
  }
});

describe('damaged captures', () => {
  const damaged = (name: string, bytes: Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const good = (): Buffer => readFileSync('pcaps/sa-names/capture.pcapng');

  test('what lies before the damage is judged, the byte offset is named, exit code 3', async () => {
    const path = damaged('cut.pcapng', good().subarray(0, 5000));
    const { code, stdout, stderr } = await margay(['replay', ...lesson('sa-names'), '-r', path, '-o', 'json']);
    const { totals, sources } = JSON.parse(stdout);
    expect(totals.packets).toBeGreaterThan(10);
    expect(sources[0].error).toMatch(/byte \d+/);
    expect(stderr).toContain(sources[0].error);
    expect(code).toBe(3);
  });

  test('a file that is no capture is exit code 3', async () => {
    const path = damaged('text.pcap', Buffer.from('apiVersion: v1\n'));
    const { code, stderr } = await margay(['replay', ...lesson('sa-names'), '-r', path]);
    expect(stderr).toMatch(/not a capture file/);
    expect(code).toBe(3);
  });

  test('an unsupported link type is counted, named, exit code 3', async () => {
    const bytes = good();
    // The first interface description block: its link type lies 8 bytes behind the start of the block.
    const at = bytes.indexOf(Buffer.from([1, 0, 0, 0]), 28);
    bytes.writeUInt16LE(147, at + 8);
    const path = damaged('link.pcapng', bytes);
    const { code, stdout, stderr } = await margay(['replay', ...lesson('sa-names'), '-r', path, '-o', 'json']);
    const { totals } = JSON.parse(stdout);
    expect(totals.undecoded_by_reason['unsupported-link-type']).toBeGreaterThan(0);
    expect(stderr).toContain('147');
    expect(code).toBe(3);
  });

  test('a packet behind the damage cannot be explained', async () => {
    const path = damaged('cut2.pcapng', good().subarray(0, 5000));
    const { code, stderr } = await margay(['explain', ...lesson('sa-names'), '-r', path, '--packet', '200']);
    expect(stderr).toMatch(/packet 200 lies behind the damage/);
    expect(code).toBe(3);
  });
});

describe('exit codes', () => {
  const flow = (from: string): string[] => [
    ...EVAL,
    '--src',
    `prod-engineering/${from}`,
    '--dst',
    '10.244.2.10',
    '--port',
    '5432',
  ];

  test.each<[what: string, args: readonly string[], code: number]>([
    ['an allowed flow', flow('api-0'), 0],
    ['a denied flow', flow('web-0'), 1],
    ['a denied flow with --exit-zero', [...flow('web-0'), '--exit-zero'], 0],
    ['an unpoliced flow', [...EVAL, '--src', '192.0.2.1', '--dst', '192.0.2.2', '--port', '1'], 0],
    [
      'an unpoliced flow where policing is demanded',
      [...EVAL, '--src', '192.0.2.1', '--dst', '192.0.2.2', '--port', '1', '--min-coverage', '1'],
      3,
    ],
    ['denies of a replay', ['replay', ...capture('sa-names')], 0],
    ['a replay that is policed too little', ['replay', ...capture('sa-names'), '--min-coverage', '99'], 3],
    ['a replay that is policed enough', ['replay', ...capture('sa-names'), '--min-coverage', '90'], 0],
    ['an explained deny', [...EXPLAIN, ...flow('web-0').slice(3)], 0],
    ['Ctrl-C', ['replay', ...capture('sa-names')], 130],
  ])('%s', async (what, args, code) => {
    expect((await margay(args, { isInterrupted: what === 'Ctrl-C' })).code).toBe(code);
  });

  test('after Ctrl-C the totals so far are printed', async () => {
    const { stdout, stderr } = await margay(['replay', ...capture('sa-names')], { isInterrupted: true });
    expect(stdout).toMatch(/^\d+ packets?, \d+ bytes/m);
    expect(stderr).toContain('interrupted');
  });
});

test('--quiet leaves errors alone on standard error', async () => {
  const { stderr } = await margay(['replay', ...capture('sa-labels'), '-q']);
  expect(stderr).toBe('');
});

test('--verbose tells which kinds were left out', async () => {
  const path = join(folder, 'other.yaml');
  writeFileSync(path, 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n');
  const { stderr } = await margay(['validate', '-v', '-f', path]);
  expect(stderr).toBe('margay: 1 object of kind ConfigMap (v1) left out; no verdict depends on that kind\n');
});

describe('compile --out', () => {
  test('writes tables that open', async () => {
    const path = join(folder, 'tables.bin');
    const { code, stderr } = await margay(['compile', ...lesson('tiers'), '--out', path]);
    const bytes = readFileSync(path);
    expect(stderr).toBe(`margay: wrote ${bytes.length} bytes of tables to ${path}\n`);
    expect(code).toBe(0);
    const { openTables } = await import('../../src/tables/tables.ts');
    expect(() => openTables(new Uint8Array(bytes).buffer)).not.toThrow();
  });

  test('a folder that is not there is trouble at run time', async () => {
    const { code, stderr } = await margay(['compile', ...lesson('tiers'), '--out', join(folder, 'no/tables.bin')]);
    expect(stderr).toContain('ENOENT');
    expect(code).toBe(4);
  });
});
