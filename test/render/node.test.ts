/** A node's text as a whole: arrangement, sets, what is left out, names of others, and that the tools take it. */
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { folderCase, foldersUnder } from '../../native-fixtures/kernel/cases.mjs';
import { whyNoLab } from '../../native-fixtures/kernel/preconditions.mjs';
import { renderIptables } from '../../src/render/iptables.ts';
import { chainName, commentText, interfacePrefixes, podInterface, setName } from '../../src/render/names.ts';
import { renderNft } from '../../src/render/nft.ts';
import { withoutCovered } from '../../src/render/prefixes.ts';
import * as layout from '../../src/tables/layout.ts';
import { chainOf, NODE, pod, policy, tablesFromText, tablesOf } from './support.ts';

describe('names', () => {
  test('are those that Calico gives', () => {
    // Semantics 2.1 and 7.1; the hash by `printf app.web-0 | sha1sum`.
    expect(podInterface('cali', 'app', 'web-0')).toBe('calie7cdbeaa36f');
    expect(setName(4, 's:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug')).toBe('cali40s:5y5I3VdRZfDU01O--xXAPx2');
  });

  test('that are long or strange are hashed, and differ', () => {
    expect(chainName('cali-pi-', 'np/app/web')).toBe('cali-pi-np/app/web');
    const long = ['np/app/a-very-long-name-of-a-policy-1', 'np/app/a-very-long-name-of-a-policy-2'].map((name) =>
      chainName('cali-pi-', name),
    );
    expect(new Set(long).size).toBe(2);
    for (const name of [...long, chainName('cali-pi-', 'np/app/a b')]) expect(name).toMatch(/^cali-pi-_[\w-]{19}$/);
  });

  test('never carry an end of line or of a string into the text', () => {
    expect(commentText('a"\n-j ACCEPT\\')).toBe('a__-j ACCEPT_');
    const evil = 'x"\nadd rule ip margay filter-INPUT accept\n#';
    const selector = `a == '${'}\n'}x"'`;
    const tables = tablesOf(
      [
        NODE,
        pod('a', 1, { evil: 'b' }),
        policy('p', { tier: 'default', selector, ingress: [{ action: 'Deny', source: { selector } }] }),
        policy(evil, { ingress: [] }),
      ],
      {
        permissive: true,
      },
    );
    const { ipset, iptables4 } = renderIptables(tables, 0);
    for (const text of [renderNft(tables, 0).nft, ipset, iptables4]) {
      expect(text).not.toMatch(/^\s*add rule/m);
      expect(text).not.toMatch(/^\s*x"/m);
    }
  });

  test('take from interfacePrefix only what an interface can be called', () => {
    expect(interfacePrefixes('tap,cali')).toEqual(['tap', 'cali']);
    expect(interfacePrefixes('a b,;')).toEqual(['cali']);
  });
});

test('members that a wider one covers are left out of nftables sets', () => {
  expect(withoutCovered(['10.0.0.0/8', '10.1.0.0/16', '10.1.1.1/32', '11.0.0.0/8'], 4)).toEqual([
    '10.0.0.0/8',
    '11.0.0.0/8',
  ]);
  expect(withoutCovered(['::/1', '::1/128', '8000::/1'], 6)).toEqual(['::/1', '8000::/1']);
});

describe('a node', () => {
  const documents = [
    NODE,
    pod('a', 1, { role: 'a' }),
    policy('p', { selector: 'role == "a"', types: ['Ingress'], ingress: [{ action: 'Pass' }] }),
    { ...policy('s', { selector: 'role == "a"' }), kind: 'StagedNetworkPolicy' },
  ];

  test('has chains for its pods in order: connections, tiers, profiles, drop', () => {
    const { nft } = renderNft(tablesOf(documents), 0);
    const name = podInterface('cali', 'app', 'a');
    expect(chainOf(nft, `filter-cali-tw-${name}`)).toEqual([
      'ct state related,established accept',
      'ct state invalid drop',
      'meta mark set meta mark and 0xfffcffff',
      'meta mark set meta mark and 0xfffdffff comment "start of tier default"',
      'meta mark and 0x00020000 == 0 jump filter-cali-pi-np/app/p',
      'meta mark and 0x00010000 == 0x00010000 return',
      'meta mark and 0x00020000 == 0 drop comment "end of tier default: drop if no policy passed the packet"',
      'jump filter-cali-pri-kns.app',
      'meta mark and 0x00010000 == 0x00010000 return',
      'jump filter-cali-pri-ksa.app.default',
      'meta mark and 0x00010000 == 0x00010000 return',
      'drop comment "no profile matched"',
    ]);
    const from = chainOf(nft, `filter-cali-fw-${name}`);
    expect(from.some((line) => line.startsWith('meta l4proto 17 th dport { 4789 } drop'))).toBe(true);
    expect(from.some((line) => line.startsWith('meta l4proto 4 drop'))).toBe(true);
    // No policy governs egress, so no tier takes part.
    expect(from.join('\n')).not.toContain('start of tier');
  });

  test('drops what passes an unknown interface of a pod', () => {
    const { iptables4 } = renderIptables(tablesOf(documents), 0);
    expect(chainOf(iptables4, 'cali-from-wl-dispatch').at(-1)).toBe('-m comment --comment "unknown interface" -j DROP');
    expect(chainOf(iptables4, 'cali-to-wl-dispatch').at(-1)).toBe('-m comment --comment "unknown interface" -j DROP');
  });

  test('lists what its text does not say, and says so in the text', () => {
    const { nft, leftOut } = renderNft(tablesOf(documents), 0);
    expect(leftOut).toEqual([{ what: 'snp:app/s', reason: 'staged policies are not enforced' }]);
    expect(nft).toContain('# Left out: 1\n#   snp:app/s: staged policies are not enforced\n');
  });

  test('without IPv6 has no IPv6 rules', () => {
    const off = {
      apiVersion: 'projectcalico.org/v3',
      kind: 'FelixConfiguration',
      metadata: { name: 'default' },
      spec: { ipv6Support: false },
    };
    const tables = tablesOf([...documents, off]);
    expect(renderNft(tables, 0).nft).not.toContain('ip6');
    expect(renderIptables(tables, 0).iptables6).not.toContain('*filter');
  });

  test('comes out the same for the same tables, whatever the order of the objects', () => {
    const texts = [documents, [...documents].reverse()].map((each) => renderNft(tablesOf(each), 0).nft);
    expect(texts[0]).toBe(texts[1]);
  });
});

describe('the tools of the kernel', () => {
  const why = whyNoLab();
  const suffix = why === undefined ? '' : ` (skipped: ${why})`;
  const folders = [
    ...foldersUnder('pcaps'),
    ...foldersUnder('test/conformance/worlds').slice(0, 4),
    ...foldersUnder('test/conformance/hosts').slice(0, 4),
    'native-fixtures/kernel/corners',
  ];

  test.skipIf(why !== undefined)(`load every text, and load it again${suffix}`, () => {
    const netns = `margay-render-${process.pid}`;
    const run = (argv: string[], input: string) =>
      execFileSync('ip', ['netns', 'exec', netns, ...argv], { input, stdio: 'pipe' });
    execFileSync('ip', ['netns', 'add', netns]);
    try {
      for (const folder of folders) {
        const documents = folderCase(folder).sources.map(({ text }) => text);
        const tables = tablesFromText(documents);
        for (let node = 0; node < tables.counts[layout.SECTION_NODES]!; node++) {
          const { ipset, iptables4, iptables6 } = renderIptables(tables, node);
          for (let again = 0; again < 2; again++) {
            run(['nft', '-f', '-'], renderNft(tables, node).nft);
            run(['ipset', 'restore'], ipset);
            run(['iptables-restore'], iptables4);
            run(['ip6tables-restore'], iptables6);
          }
        }
      }
    } finally {
      execFileSync('ip', ['netns', 'delete', netns]);
    }
  });
});
