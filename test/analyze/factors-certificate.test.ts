import { describe, expect, test } from 'vitest';
import {
  alternativeNames,
  parseCertificate,
  parseSpiffeAccount,
  peerOf,
} from '../../src/analyze/factors-certificate.ts';
import { makeCertificate, spiffe, type TestName, tlv } from '../support/certificate.ts';

const WEB = 'spiffe://cluster.local/ns/prod/sa/web';

describe('the name of a certificate', () => {
  const parse = (...names: TestName[]) => parseCertificate(makeCertificate({ names }).der);

  test('is that of its one URI', () => {
    expect(parse(spiffe('prod', 'web'))).toMatchObject({
      uris: [WEB],
      account: { trustDomain: 'cluster.local', namespace: 'prod', account: 'web' },
      problem: undefined,
      notBeforeMs: Date.UTC(2026, 0, 1),
      notAfterMs: Date.UTC(2046, 0, 1),
    });
    expect(parse({ dns: 'web.prod.svc' }, spiffe('prod', 'web'), { dns: 'web' })?.account?.account).toBe('web');
  });

  test('is none without a URI, with several, and with one of another form', () => {
    expect(parse({ dns: 'web' })).toMatchObject({ uris: [], account: undefined, problem: 'no-uri-name' });
    expect(parse()).toMatchObject({ uris: [], problem: 'no-uri-name' });
    expect(parse(spiffe('prod', 'web'), spiffe('prod', 'api'))).toMatchObject({
      account: undefined,
      problem: 'several-uri-names',
    });
    expect(parse(spiffe('prod', 'web'), spiffe('prod', 'web'))).toMatchObject({ problem: 'several-uri-names' });
    expect(parse({ uri: 'https://example.com' })).toMatchObject({ problem: 'not-a-spiffe-name' });
    expect(parse({ uri: '' })).toMatchObject({ uris: [''], problem: 'not-a-spiffe-name' });
  });

  // A name of one type that looks like two entries: cut at its commas it would be an administrator's certificate.
  test('is never cut out of another name', () => {
    const admin = 'spiffe://cluster.local/ns/prod/sa/admin';
    expect(parse({ dns: `a.example, URI:${admin}` })).toMatchObject({ uris: [], problem: 'no-uri-name' });
    expect(parse({ dns: `a.example, URI:${admin}` }, spiffe('prod', 'web'))).toMatchObject({ uris: [WEB] });
    expect(parse({ dns: `a", URI:${admin}, DNS:"b` }, spiffe('prod', 'web'))).toMatchObject({ uris: [WEB] });
    expect(parse({ uri: `https://x/, URI:${admin}` })).toMatchObject({ problem: 'not-a-spiffe-name' });
    expect(parse({ uri: `${WEB}\u0000.evil` })).toMatchObject({ problem: 'not-a-spiffe-name' });
    const directory = tlv(
      0xa4,
      tlv(
        0x30,
        tlv(
          0x31,
          tlv(0x30, Buffer.concat([tlv(6, Buffer.from('550403', 'hex')), tlv(12, Buffer.from(`x, URI:${admin}`))])),
        ),
      ),
    );
    expect(parse({ der: directory }, spiffe('prod', 'web'))).toMatchObject({ uris: [WEB] });
  });

  test('stands among names of every other type', () => {
    const others: TestName[] = [
      { der: tlv(0x87, Buffer.from([10, 0, 0, 1])) },
      { der: tlv(0x87, Buffer.alloc(16, 1)) },
      { der: tlv(0x88, Buffer.from('2a0304', 'hex')) },
      { der: tlv(0x81, Buffer.from('a@example.com')) },
      {
        der: tlv(
          0xa0,
          Buffer.concat([tlv(6, Buffer.from('2a0304', 'hex')), tlv(0xa0, tlv(12, Buffer.from('hello, "x"')))]),
        ),
      },
    ];
    expect(parse(...others, spiffe('prod', 'web'), ...others)).toMatchObject({ uris: [WEB], problem: undefined });
  });
});

describe('a certificate that cannot be read', () => {
  const { der } = makeCertificate({ names: [spiffe('prod', 'web')] });

  test('cut at every byte, or with more behind it, is none', () => {
    for (let length = 0; length < der.length; length++)
      expect(parseCertificate(der.subarray(0, length))).toBeUndefined();
    expect(parseCertificate(Buffer.concat([der, Buffer.from([0])]))).toBeUndefined();
    expect(parseCertificate(Buffer.concat([der, der]))).toBeUndefined();
    expect(parseCertificate(Buffer.from(makeCertificate().pem))).toBeUndefined();
    expect(parseCertificate(der)).toBeDefined();
  });
});

describe('the text of alternative names', () => {
  test.each([
    ['', []],
    ['URI:a', [['URI', 'a']]],
    [
      'IP Address:FE80:0:0:0:0:0:0:1, URI:a',
      [
        ['IP Address', 'FE80:0:0:0:0:0:0:1'],
        ['URI', 'a'],
      ],
    ],
    [
      'DNS:"a\\u002c URI:b", URI:c',
      [
        ['DNS', 'a, URI:b'],
        ['URI', 'c'],
      ],
    ],
    [
      'URI:"\\"", URI:',
      [
        ['URI', '"'],
        ['URI', ''],
      ],
    ],
  ])('%s', (text, expected) => {
    expect(alternativeNames(text)?.map(({ type, value }) => [type, value])).toEqual(expected);
  });

  test.each(['URI', 'URI:a, ', 'URI:"a', 'URI:"a"b', 'URI:"a",URI:b', 'URI:"\\x"'])('%s is none', (text) => {
    expect(alternativeNames(text)).toBeUndefined();
  });
});

describe('SPIFFE names', () => {
  test.each([
    'spiffe://cluster.local/ns/prod/sa/web/x',
    'spiffe://cluster.local/ns//sa/web',
    'spiffe:///ns/prod/sa/web',
    'SPIFFE://cluster.local/ns/prod/sa/web',
    'https://cluster.local/ns/prod/sa/web',
    ' spiffe://cluster.local/ns/prod/sa/web',
    'spiffe://cluster.local/ns/prod/sa/web ',
    'spiffe://cluster.local/ns/prod/sa/web,spiffe://cluster.local/ns/prod/sa/api',
    'spiffe://cluster.local/ns/prod/sa/we%62',
    'spiffe://cluster.local/ns/Prod/sa/web',
  ])('%j is none of an account', (uri) => {
    expect(parseSpiffeAccount(uri)).toBeUndefined();
    expect(peerOf([uri]).problem).toBe('not-a-spiffe-name');
  });
});
