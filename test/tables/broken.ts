/** Buffers of tables taken apart and put together again with something broken in them, checksum right. */
import { InvariantError } from '../../src/base/assert.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { checksumWords } from '../../src/tables/checksum.ts';
import * as layout from '../../src/tables/layout.ts';
import { openTables } from '../../src/tables/tables.ts';
import { CLUSTER, HOST1, HOST1_6 } from '../rows/cluster.ts';
import {
  bgpConfiguration,
  documents,
  endpointSlice,
  felixConfiguration,
  globalNetworkSet,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  pod,
  tier,
} from '../rows/objects.ts';

/** Every section has records, every kind of list has entries, a chain looks at source ports and one passes. */
const WORLD = [
  ...CLUSTER,
  pod('app/web', { ip: ['10.0.0.2', 'fd00::2'], labels: { app: 'web' }, ports: [{ name: 'http', containerPort: 80 }] }),
  // Of the same address: an owner that is a list of pods.
  pod('app/web-again', { ip: ['10.0.0.2'], labels: { app: 'web' } }),
  tier('first', { order: 1 }),
  globalPolicy('first.p', {
    tier: 'first',
    selector: 'has(app)',
    types: ['Ingress'],
    ingress: [{ action: 'Pass', protocol: 'TCP', source: { ports: [7] } }, { action: 'Pass' }],
  }),
  networkPolicy('app/p', {
    selector: 'app == "db"',
    types: ['Ingress', 'Egress'],
    ingress: [
      { action: 'Allow', protocol: 'TCP', source: { ports: [7, '100:200'], nets: ['192.0.2.0/24'] } },
      {
        action: 'Allow',
        protocol: 'TCP',
        source: { selector: 'app == "web"' },
        destination: { ports: [80, 443, 'http'] },
      },
      { action: 'Deny', source: { notNets: ['2001:db8::/33'], notSelector: 'has(nothing)' } },
    ],
    egress: [{ action: 'Allow', destination: { services: { name: 'web', namespace: 'app' } } }],
  }),
  globalNetworkSet('far', { set: 'far' }, ['198.51.100.0/24', '2001:db8:1::/48']),
  hostEndpoint('h1', { host: 'n1' }, { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1, HOST1_6] }),
  felixConfiguration({ failsafeInboundHostPorts: [{ protocol: 'TCP', port: 22, net: '192.0.2.0/24' }] }),
  bgpConfiguration({ serviceClusterIPs: [{ cidr: '10.96.0.0/12' }] }),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'app', name: 'web' },
    spec: { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], ports: [{ port: 80 }] },
  },
  endpointSlice('app/web', [{ addresses: ['10.0.0.2'] }], [{ port: 80 }]),
];

/** The sections of sound tables, by number; fresh copies each time. */
export function soundSections(): Int32Array[] {
  const words = new Int32Array(soundBuffer());
  return Array.from({ length: layout.SECTION_COUNT }, (_, section) => {
    const start = words[layout.HEADER_DIRECTORY + 2 * section]!;
    const count = words[layout.HEADER_DIRECTORY + 2 * section + 1]!;
    return words.slice(start, start + count * layout.RECORD_WORDS[section]!);
  });
}

/** A copy of sound tables. */
export function soundBuffer(): ArrayBuffer {
  sound ??= makeSound();
  return sound.slice(0);
}

let sound: ArrayBuffer | undefined;

function makeSound(): ArrayBuffer {
  const { resources, errors } = loadResources([{ name: 'world.yaml', text: documents(...WORLD) }]);
  if (errors.length > 0) throw new Error(`the world of these tests does not load: ${JSON.stringify(errors[0])}`);
  return new Uint8Array(compile(resources)).slice().buffer;
}

/** A buffer of these sections with a right header. */
export function assemble(sections: readonly Int32Array[], localNode: number = layout.NONE): ArrayBuffer {
  const length = sections.reduce((sum, section) => sum + section.length, layout.HEADER_WORDS);
  const words = new Int32Array(length);
  words[0] = layout.MAGIC;
  words[1] = layout.LAYOUT_VERSION;
  words[layout.HEADER_LENGTH] = length;
  words[layout.HEADER_LOCAL_NODE] = localNode;
  let at = layout.HEADER_WORDS;
  sections.forEach((section, index) => {
    words[layout.HEADER_DIRECTORY + 2 * index] = at;
    words[layout.HEADER_DIRECTORY + 2 * index + 1] = section.length / layout.RECORD_WORDS[index]!;
    words.set(section, at);
    at += section.length;
  });
  return withChecksum(words);
}

/** The buffer of these words with the checksum that fits them. */
export function withChecksum(words: Int32Array<ArrayBuffer>): ArrayBuffer {
  words[layout.HEADER_CHECKSUM] = checksumWords(words, layout.HEADER_LOCAL_NODE);
  return words.buffer;
}

/** What `openTables` says of the buffer, without `tables: `; '' if it opens. */
export function refusal(buffer: ArrayBuffer): string {
  try {
    openTables(buffer);
    return '';
  } catch (error) {
    if (!(error instanceof InvariantError)) throw error;
    return error.message.replace('tables: ', '');
  }
}

/** The refusal of sound tables with `change` made to their sections. */
export function refusalOf(change: (sections: Int32Array[]) => void): string {
  const sections = soundSections();
  change(sections);
  return refusal(assemble(sections));
}
