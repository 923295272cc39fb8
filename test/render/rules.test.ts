/** How one policy rule becomes kernel rules: the forms that a single match cannot hold, and where the tools differ. */
import { describe, expect, test } from 'vitest';
import { renderIptables } from '../../src/render/iptables.ts';
import { renderNft } from '../../src/render/nft.ts';
import { chainOf, NODE, pod, policy, tablesOf } from './support.ts';

const HTTP = [{ name: 'http', containerPort: 8080, protocol: 'TCP' }];

function chains(rule: object): { nft: string[]; iptables: string[]; ip6tables: string[] } {
  const documents = [NODE, pod('a', 1, { role: 'a' }, HTTP), policy('p', { types: ['Ingress'], ingress: [rule] })];
  const nft = renderNft(tablesOf(documents, { dataplane: 'nftables' }), 0).nft;
  const { iptables4, iptables6 } = renderIptables(tablesOf(documents), 0);
  return {
    nft: chainOf(nft, 'filter-cali-pi-np/app/p'),
    iptables: chainOf(iptables4, 'cali-pi-np/app/p'),
    ip6tables: chainOf(iptables6, 'cali-pi-np/app/p'),
  };
}

describe('a rule', () => {
  test('of single tests is one kernel rule; Allow sets the mark and returns', () => {
    const { nft, iptables } = chains({ action: 'Allow', protocol: 'TCP', source: { nets: ['10.1.0.0/16'] } });
    expect(iptables).toEqual([
      '-p 6 -s 10.1.0.0/16 -m comment --comment "np:app/p ingress rule 0" -j MARK --set-xmark 0x10000/0x10000',
      '-m mark --mark 0x10000/0x10000 -j RETURN',
    ]);
    expect(nft).toEqual([
      'meta l4proto 6 ip saddr 10.1.0.0/16 meta mark set meta mark or 0x00010000 comment "np:app/p ingress rule 0"',
      'meta mark and 0x00010000 == 0x00010000 return',
    ]);
  });

  test('of IPv4 nets alone is none in IPv6, even where they are negated', () => {
    expect(chains({ action: 'Deny', source: { nets: ['10.1.0.0/16'] } }).ip6tables).toEqual([]);
    expect(chains({ action: 'Deny', source: { notNets: ['10.1.0.0/16'] } }).ip6tables).toEqual([]);
    expect(chains({ action: 'Deny' }).ip6tables).toHaveLength(1);
  });

  test('splits ports at 15 slots, a range taking two', () => {
    const ports = [...Array.from({ length: 14 }, (_, i) => 2 * i + 1), '100:200', 300];
    const { iptables, nft } = chains({ action: 'Deny', protocol: 'TCP', destination: { ports } });
    const lists = iptables.flatMap((line) => line.match(/--dports (\S+)/)?.[1] ?? []);
    expect(lists).toEqual(['1,3,5,7,9,11,13,15,17,19,21,23,25,27', '100:200,300']);
    expect(iptables.at(-1)).toContain('-m mark --mark 0x40000/0x40000 -p 6');
    expect(nft.filter((line) => line.includes('th dport'))).toHaveLength(2);
    const negated = chains({ action: 'Deny', protocol: 'TCP', destination: { notPorts: ports } }).iptables;
    expect(negated).toHaveLength(1);
    expect(negated[0]).toContain('! --dports 100:200,300');
  });

  test('takes numbers and named ports as one OR, in a block of marks', () => {
    const { iptables } = chains({ action: 'Deny', protocol: 'TCP', destination: { ports: ['http', 80] } });
    expect(iptables[0]).toBe('-j MARK --set-xmark 0x0/0xc0000');
    expect(iptables[1]).toBe('-p 6 -m multiport --dports 80 -j MARK --set-xmark 0x40000/0x40000');
    expect(iptables[2]).toMatch(/^-m set --match-set cali40n:\S+ dst,dst -j MARK --set-xmark 0x40000\/0x40000$/);
    expect(iptables[3]).toMatch(/^-m mark --mark 0x40000\/0x40000 -p 6 .*-j DROP$/);
    expect(iptables).toHaveLength(4);
  });

  test('never negates an address-and-port set in the rule itself', () => {
    // nftables ends a rule without a match where a packet has no port to read; NOT must hold there.
    const { nft } = chains({ action: 'Deny', destination: { notPorts: ['http'] } });
    expect(nft.join('\n')).not.toContain('!=');
    expect(nft.some((line) => /^ip daddr \. meta l4proto \. th dport @\S+ meta mark set/.test(line))).toBe(true);
  });

  test('with two lists of nets needs a second block, whose miss spoils the first', () => {
    const { iptables } = chains({
      action: 'Deny',
      source: { nets: ['10.1.0.0/16', '10.2.0.0/16'] },
      destination: { nets: ['10.3.0.0/16', '10.4.0.0/16'] },
    });
    expect(iptables).toContain('-m mark --mark 0x0/0x80000 -j MARK --set-xmark 0x0/0x40000');
  });

  test('says notICMP of type and code as its dataplane does', () => {
    const { nft, iptables } = chains({ action: 'Deny', protocol: 'ICMP', notICMP: { type: 8, code: 1 } });
    expect(iptables[0]).toContain('-p 1 -m icmp ! --icmp-type 8/1');
    expect(nft[0]).toContain('meta l4proto 1 icmp type != 8 icmp code != 1 drop');
  });

  test('of action Log is a remark alone', () => {
    const documents = [
      NODE,
      pod('a', 1),
      policy('p', { types: ['Ingress'], ingress: [{ action: 'Log' }, { action: 'Allow' }] }),
    ];
    const { nft } = renderNft(tablesOf(documents), 0);
    expect(nft).toContain('# rule 0: Log, which decides nothing\n');
    expect(chainOf(nft, 'filter-cali-pi-np/app/p')[0]).toContain('rule 1');
  });
});
