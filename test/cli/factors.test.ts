/** `margay factors` as a user meets it, on the lesson and on what is wrong with its input; and the notes on HBONE of other verbs. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FactorsRecord } from '../../src/analyze/factors-record.ts';
import { FACTORS_SCHEMA } from '../../src/analyze/factors-schema.ts';
import { captureOf, connection, recordsOf } from '../support/tcp-capture.ts';
import { capture, lesson, margay } from './support.ts';

const FACTORS = ['factors', ...capture('two-factor')];
const CAPTURE = 'pcaps/two-factor/capture.pcapng';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'margay-factors-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const lines = <T>(text: string): T[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T);

/** The lesson's capture without its secrets. */
function closedCapture(): string {
  const bytes = readFileSync(CAPTURE);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) !== 10) parts.push(bytes.subarray(at, at + bytes.readUInt32LE(at + 4)));
  }
  return write('closed.pcapng', Buffer.concat(parts));
}

function keyLog(): string {
  const bytes = readFileSync(CAPTURE);
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) === 10) return bytes.toString('latin1', at + 16, at + 16 + bytes.readUInt32LE(at + 12));
  }
  throw new Error('the lesson has no secrets');
}

describe('the lesson', () => {
  test.each([
    ['factors', FACTORS],
    ['factors-json', [...FACTORS, '-o', 'json']],
    ['validate-two-factor', ['validate', ...lesson('two-factor')]],
    ['replay-two-factor', ['replay', ...capture('two-factor')]],
  ])('prints %s', async (file, args) => {
    const { code, stdout, stderr } = await margay(args);
    const parts = [`$ margay ${args.join(' ')}`, `exit code ${code}`, '', stdout];
    if (stderr !== '') parts.push('--- standard error', stderr);
    await expect(parts.join('\n')).toMatchFileSnapshot(`../goldens/cli/${file}.txt`);
  });

  // Reasoned by hand from what each caller of the recording did (native-fixtures/lab/lessons/two-factor.mjs).
  test('shows what one factor opens and two do not', async () => {
    const { code, stdout, stderr } = await margay([...FACTORS, '-o', 'jsonl']);
    const shown = lines<FactorsRecord>(stdout).map(
      ({ source_port: port, network, crypto, certificate, factors, verdicts, findings }) =>
        [
          port,
          network,
          certificate?.account ?? crypto,
          factors,
          verdicts.address,
          verdicts.certificate,
          verdicts.both,
          ...findings.map(({ name }) => name),
        ].join(' '),
    );
    const API = 'prod/api-service';
    expect(shown).toEqual([
      `40001 ${API} ${API} 2 of 2 allow allow allow`,
      `40002 ${API} ${API} 2 of 2 allow allow allow`,
      `40003 ${API} ${API} 2 of 2 allow allow allow`,
      `40004 prod/web ${API} 1 of 2 deny allow deny identity-mismatch`,
      `40005 prod/web ${API} 1 of 2 deny allow deny identity-mismatch`,
      `40006 ${API} absent 1 of 2 allow deny deny no-certificate-on-trusted-path`,
      `40007 ${API} absent 1 of 2 allow deny deny no-certificate-on-trusted-path`,
      `40008 ${API} prod/web 1 of 2 allow deny deny identity-mismatch`,
      `40009 ${API} absent 1 of 2 allow deny deny plain-text-on-trusted-path`,
      `40010 ${API} absent 1 of 2 allow deny deny plain-text-on-trusted-path`,
      '40011 prod/web prod/web 0 of 2 deny deny deny',
      '40012 prod/web absent 0 of 2 deny deny deny',
    ]);
    expect([code, stderr]).toEqual([1, '']);
  });

  test('is one document with -o json', async () => {
    const document = JSON.parse((await margay([...FACTORS, '-o', 'json'])).stdout) as Record<string, unknown>;
    expect(Object.keys(document)).toEqual(['totals', 'matrix', 'connections', 'gaps', 'sources']);
    expect(document.connections).toEqual(lines((await margay([...FACTORS, '-o', 'jsonl'])).stdout));
    expect(document.sources).toEqual([
      { file: CAPTURE, packets: expect.any(Number), passed_over: 0, link_type: 1, error: null },
    ]);
  });

  test('has the verdicts of replay', async () => {
    const { stdout } = await margay(['replay', ...capture('two-factor'), '-o', 'json']);
    const replayed = (JSON.parse(stdout) as { connections: { first_packet: number; action: string }[] }).connections;
    const records = lines<FactorsRecord>((await margay([...FACTORS, '-o', 'jsonl'])).stdout);
    expect(records.map(({ first_packet: packet, verdicts }) => [packet, verdicts.address])).toEqual(
      replayed.map(({ first_packet: packet, action }) => [packet, action]),
    );
  });

  test('exit codes: a finding, none with --exit-zero, missing evidence', async () => {
    expect((await margay([...FACTORS, '--exit-zero', '-q'])).code).toBe(0);
    // Without findings: honest connections of TLS 1.3 alone, closed.
    const closed = closedCapture();
    const { code, stdout, stderr } = await margay(['factors', ...lesson('two-factor'), '-r', closed, '--exit-zero']);
    expect(code).toBe(3);
    expect(stdout).toContain('unknown (no-keys)');
    expect(stderr).toMatch(/^margay: \S+closed\.pcapng, packet \d+: no-keys: TLS 1\.3 encrypts certificates/);
  });

  test('where nothing rests on an account, all is fine', async () => {
    const { code, stdout, stderr } = await margay([
      'factors',
      ...lesson('two-factor'),
      '-r',
      'pcaps/sa-names/capture.pcapng',
    ]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('0 connections of 21 that a rule with accounts asks about');
  });

  test('with its secrets beside it says the same as with them inside', async () => {
    const keys = write('keys.log', keyLog());
    const inside = await margay([...FACTORS, '-o', 'jsonl']);
    const beside = await margay([
      'factors',
      ...lesson('two-factor'),
      '-r',
      closedCapture(),
      '--keylog',
      keys,
      '-o',
      'jsonl',
    ]);
    expect(beside).toEqual(inside);
  });

  test('with the wrong secrets says which do not fit, and where', async () => {
    const keys = keyLog();
    const [first, second] = [...keys.matchAll(/^CLIENT_HANDSHAKE_TRAFFIC_SECRET \S+ (\S+)/gm)].map(
      ([, secret]) => secret!,
    );
    const wrong = write('wrong.log', keys.replaceAll(first!, second!));
    const closed = closedCapture();
    const { code, stderr } = await margay([
      'factors',
      ...lesson('two-factor'),
      '-r',
      closed,
      '--keylog',
      wrong,
      '--exit-zero',
    ]);
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /closed\.pcapng, packet \d+: keys-do-not-fit: the secret of client random \w{16}… fails on record 1 of the client/,
    );
  });

  test('with a log of Envoy instead of secrets', async () => {
    const records = lines<FactorsRecord>((await margay([...FACTORS, '-o', 'jsonl'])).stdout);
    const log = records
      .filter(({ tls }) => tls?.version === 'TLS 1.3')
      .map((record) => {
        const address = (ip: string, port: number | undefined): string =>
          ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
        return JSON.stringify({
          start_time: record.start_time,
          downstream_remote_address: address(record.source_ip, record.source_port),
          downstream_local_address: address(record.dest_ip, record.dest_port),
          downstream_peer_uri_san: record.certificate?.uris[0] ?? '-',
        });
      });
    const path = write('envoy.jsonl', `${log.join('\n')}\n`);
    const { code, stdout, stderr } = await margay([
      'factors',
      ...lesson('two-factor'),
      '-r',
      closedCapture(),
      '--access-log',
      path,
      '-o',
      'jsonl',
    ]);
    expect([code, stderr]).toEqual([1, '']);
    const told = lines<FactorsRecord>(stdout);
    expect(
      told.map(({ factors, verdicts, findings }) => [factors, verdicts, findings.map(({ name }) => name)]),
    ).toEqual(records.map(({ factors, verdicts, findings }) => [factors, verdicts, findings.map(({ name }) => name)]));
    expect(told[1]!.certificate).toMatchObject({ from: 'envoy-log', place: `${path}:1` });
  });

  test.skipIf(spawnSync('tshark', ['--version']).status !== 0)(
    'certificates are those that tshark decodes (needs tshark)',
    async () => {
      const fields = ['ip.src', 'ipv6.src', 'tcp.srcport', 'tcp.dstport', 'x509ce.uniformResourceIdentifier'];
      const { stdout } = spawnSync(
        'tshark',
        [
          '-n',
          '-r',
          CAPTURE,
          '-d',
          'tcp.port==8443,tls',
          '-Y',
          'tls.handshake.type==11',
          '-T',
          'fields',
          ...fields.flatMap((field) => ['-e', field]),
        ],
        { encoding: 'utf8' },
      );
      const theirs = stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split('\t'));
      const clients = theirs
        .filter(([, , , port]) => port === '8443')
        .map(([ip4, ip6, port, , uri]) => `${ip4 || ip6} ${port} ${uri}`);
      const servers = theirs.filter(([, , port]) => port === '8443').map(([, , , port, uri]) => `${port} ${uri}`);
      const records = lines<FactorsRecord>((await margay([...FACTORS, '-o', 'jsonl'])).stdout).filter(
        ({ transport }) => transport === 'tls',
      );
      expect(records.map((each) => `${each.source_ip} ${each.source_port} ${each.certificate?.uris[0] ?? ''}`)).toEqual(
        clients,
      );
      expect(records.map((each) => `${each.source_port} ${each.dest_certificate?.uris[0]}`)).toEqual(servers);
      expect(clients).toHaveLength(9);
    },
  );
});

describe('identities that change with time', () => {
  test('each flow has the owner of its address when it began, and rules see that owner', async () => {
    const cluster = readFileSync('pcaps/two-factor/cluster.yaml', 'utf8').split('---\n');
    const files = ['-f', write('no-pods.yaml', cluster.filter((text) => !text.includes('kind: Pod\n')).join('---\n'))];
    files.push('-f', 'pcaps/two-factor/policies.yaml');
    const dumped = lines<Record<string, unknown>>(
      (await margay(['identities', 'dump', ...lesson('two-factor')])).stdout,
    );
    const records = lines<FactorsRecord>((await margay([...FACTORS, '-o', 'jsonl'])).stdout);
    // The pod api-0 is gone after its second connection, and its address is given to a pod of web.
    const [before, after] = [records[1]!.end_time, records[2]!.start_time];
    const identities = dumped.map((each) => (each.ip === '10.244.1.10' ? { ...each, to: before } : each));
    const heir = {
      ...dumped.find(({ pod }) => pod === 'web-0')!,
      ip: '10.244.1.10',
      pod: 'web-9',
      uid: 'heir',
      from: after,
    };
    const file = write('identities.jsonl', [...identities, heir].map((each) => `${JSON.stringify(each)}\n`).join(''));
    const { stdout } = await margay(['factors', ...files, '-r', CAPTURE, '--identities', file, '-o', 'jsonl', '-q']);
    const shown = lines<FactorsRecord>(stdout).map(
      (each) =>
        `${each.source_port} ${each.network} ${each.rules[0]?.network} ${each.verdicts.address} ${each.factors}`,
    );
    const of = (port: number, network: string, rule: string, factors: string): string =>
      `${port} prod/${network} ${rule} ${rule === 'yes' ? 'allow' : 'deny'} ${factors}`;
    expect(shown).toEqual([
      of(40001, 'api-service', 'yes', '2 of 2'),
      of(40002, 'api-service', 'yes', '2 of 2'),
      of(40003, 'api-service', 'yes', '2 of 2'),
      of(40004, 'web', 'no', '1 of 2'),
      of(40005, 'web', 'no', '1 of 2'),
      of(40006, 'web', 'no', '0 of 2'),
      of(40007, 'web', 'no', '0 of 2'),
      of(40008, 'web', 'no', '0 of 2'),
      of(40009, 'web', 'no', '0 of 2'),
      of(40010, 'web', 'no', '0 of 2'),
      of(40011, 'web', 'no', '0 of 2'),
      of(40012, 'web', 'no', '0 of 2'),
    ]);
    const early = await margay([
      'factors',
      ...files,
      '-r',
      CAPTURE,
      '--identities',
      file,
      '--at',
      before,
      '-o',
      'jsonl',
      '-q',
    ]);
    expect(lines<FactorsRecord>(early.stdout)[9]!.network).toBeUndefined();
  });
});

describe('the schema', () => {
  const validate = new Ajv({ allErrors: true, strict: true, strictTypes: false }).compile(FACTORS_SCHEMA);

  test('is what schema factors and factors --schema print', async () => {
    for (const args of [
      ['schema', 'factors'],
      ['factors', '--schema'],
    ]) {
      const { code, stdout } = await margay(args);
      expect([code, JSON.parse(stdout)]).toEqual([0, FACTORS_SCHEMA]);
    }
  });

  test('holds for the lesson, open and closed, and for everything of another lesson', async () => {
    const runs = [
      [...FACTORS, '-o', 'jsonl'],
      ['factors', ...lesson('two-factor'), '-r', closedCapture(), '-o', 'jsonl', '-q'],
      ['factors', ...capture('sa-names'), '--all', '-o', 'jsonl', '-q'],
    ];
    let count = 0;
    for (const args of runs) {
      for (const record of lines((await margay(args)).stdout)) {
        expect(validate(record), JSON.stringify([record, validate.errors])).toBe(true);
        count++;
      }
    }
    expect(count).toBeGreaterThan(40);
  });

  test('refuses what is not in it', async () => {
    const [record] = lines<object>((await margay([...FACTORS, '-o', 'jsonl'])).stdout);
    expect(validate({ ...record, surprise: 1 })).toBe(false);
    expect(validate({ ...record, factors: '3 of 2' })).toBe(false);
  });
});

describe('mistakes', () => {
  test.each<[string, string[], string]>([
    ['no -r', ['factors', ...lesson('two-factor')], '-r is missing: name the capture to read, or - for standard input'],
    [
      'a capture that is not there',
      ['factors', ...lesson('two-factor'), '-r', 'x.pcap'],
      "'x.pcap' does not exist; correct the path after -r",
    ],
    [
      'a key log that is not there',
      [...FACTORS, '--keylog', 'x.log'],
      "'x.log' does not exist; correct the path after --keylog",
    ],
    [
      'a log that is a directory',
      [...FACTORS, '--access-log', 'pcaps'],
      "'pcaps' is a directory; name a file after --access-log",
    ],
    [
      'a file without certificates',
      [...FACTORS, '--ca', 'package.json'],
      "'package.json' holds no certificate in PEM that can be read; correct the path after --ca",
    ],
    [
      'standard input twice',
      ['factors', ...lesson('two-factor'), '-r', '-', '--keylog', '-'],
      'standard input can be read once only',
    ],
    [
      'an unknown format',
      [...FACTORS, '-o', 'csv'],
      "argument 'csv' is invalid. Allowed choices are table, json, jsonl.",
    ],
    ['no -f', ['factors', '-r', CAPTURE], '-f is missing'],
  ])('%s', async (_name, args, text) => {
    const { code, stdout, stderr } = await margay(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(text);
  });

  test('lines that cannot be read are named, and the answer is incomplete', async () => {
    const log = write('bad.jsonl', '{"start_time":"2026-01-01T00:00:00Z"}\nnonsense\n');
    const keys = write('bad.log', 'nonsense\n');
    const { code, stderr } = await margay([...FACTORS, '--access-log', log, '--keylog', keys, '--exit-zero']);
    expect(code).toBe(3);
    expect(stderr.trimEnd().split('\n')).toEqual([
      `margay: ${keys}:1: unreadable-line: not a line of a key log (label, client random, secret)`,
      `margay: ${log}:1: unreadable-line: no downstream_remote_address of the form ADDRESS:PORT`,
      `margay: ${log}:2: unreadable-line: neither JSON of Envoy nor a line of ztunnel`,
    ]);
  });

  test('a damaged capture is answered as far as it goes', async () => {
    const bytes = readFileSync(CAPTURE);
    const cut = write('cut.pcapng', bytes.subarray(0, bytes.length - 5));
    const { code, stdout, stderr } = await margay(['factors', ...lesson('two-factor'), '-r', cut, '--exit-zero']);
    expect(code).toBe(3);
    expect(stderr).toContain('the block is cut off');
    expect(stdout).toContain('12 connections of 12');
  });

  test('interrupted, it answers for what was read', async () => {
    const { code, stderr } = await margay(FACTORS, { isInterrupted: true });
    expect([code, stderr]).toEqual([130, 'margay: interrupted: the answer covers what was read up to here\n']);
  });

  test('policies that name no account have nothing to answer', async () => {
    const { code, stdout } = await margay(['factors', '-f', 'pcaps/two-factor/cluster.yaml', '-r', CAPTURE, '-q']);
    expect(stdout).toContain('No ingress rule names a service account: nothing here rests on one.');
    expect(code).toBe(1);
  });
});

describe('HBONE', () => {
  const tunnel = (): string => {
    const ends = { src: '10.244.1.10', srcPort: 50_000, dst: '10.244.2.10', dstPort: 15_008 };
    return write(
      'hbone.pcapng',
      captureOf(recordsOf(connection(ends, [{ isClient: true, bytes: Uint8Array.of(22, 3, 1) }]))),
    );
  };
  const NOTE = "to port 15008, the HBONE tunnel of Istio's ambient mode: policies judge that port, not the one inside";

  test.each<[string, string[], string]>([
    ['replay', ['replay'], `1 connection goes ${NOTE}`],
    ['replay -o jsonl', ['replay', '-o', 'jsonl'], `1 connection goes ${NOTE}`],
    ['replay of two workers', ['replay', '-o', 'jsonl', '--workers', '2'], `1 connection goes ${NOTE}`],
    [
      'replay --packets of two workers',
      ['replay', '--packets', '-o', 'jsonl', '--workers', '2'],
      `4 packets go ${NOTE}`,
    ],
    ['replay --packets', ['replay', '--packets'], `4 packets go ${NOTE}`],
    ['factors', ['factors', '--all'], `1 connection goes ${NOTE}`],
  ])('is said by %s', async (_name, args, note) => {
    const { stderr } = await margay([...args, ...lesson('two-factor'), '-r', tunnel()]);
    expect(stderr).toContain(`margay: ${note}\n`);
  });

  test('is said by validate of policies whose ports it hides, and by nobody else', async () => {
    const path = write(
      'ambient.yaml',
      `${readFileSync('pcaps/two-factor/cluster.yaml', 'utf8').replace('kubernetes.io/metadata.name: prod', '$&\n    istio.io/dataplane-mode: ambient')}---\n${readFileSync('pcaps/two-factor/policies.yaml', 'utf8')}`,
    );
    const { code, stdout } = await margay(['validate', '-f', path]);
    expect(code).toBe(0);
    expect(stdout).toContain(
      "NetworkPolicy prod/db-clients: spec.ingress: rule 0 names ports of TCP, but pods it applies to are in Istio's ambient mode",
    );
    expect((await margay(['replay', '-f', path, '-r', CAPTURE])).stderr).not.toContain('ambient');
    expect((await margay(['validate', ...lesson('two-factor')])).stdout).not.toContain('ambient');
  });
});
