/**
 * Every setting of the agent, once: its flag, its name in a file and in the environment, its form, its default.
 *
 *   flag                 --flow-log-keep 5
 *   environment          MARGAY_FLOW_LOG_KEEP=5         lists are separated by commas
 *   YAML file            flow-log-keep: 5               lists are lists
 *
 * The command line, `config print`, the completion of shells and the checks of config.ts all come from here. Nothing is loaded to read it.
 */

export type SettingForm =
  | { readonly type: 'text'; readonly value: string }
  | { readonly type: 'list'; readonly value: string }
  | { readonly type: 'switch' }
  | { readonly type: 'number'; readonly value: string; readonly min: number; readonly max: number }
  | { readonly type: 'choice'; readonly value: string; readonly choices: readonly string[] };

export interface Setting {
  /** `flow-log-keep`. */
  readonly key: string;
  readonly short?: string;
  readonly form: SettingForm;
  readonly help: string;
  readonly group: string;
  /** Absent: there is none, and the setting may be left out. */
  readonly default?: string | number | boolean | readonly string[];
  /** Never shown. */
  readonly isSecret?: boolean;
}

const text = (value: string): SettingForm => ({ type: 'text', value });
const list = (value: string): SettingForm => ({ type: 'list', value });
const number = (value: string, min: number, max: number): SettingForm => ({ type: 'number', value, min, max });
const choice = (value: string, choices: readonly string[]): SettingForm => ({ type: 'choice', value, choices });
const SWITCH: SettingForm = { type: 'switch' };

type Rest = Omit<Setting, 'key' | 'form' | 'help' | 'group'>;

function group(name: string, settings: readonly (readonly [string, SettingForm, string, Rest?])[]): Setting[] {
  return settings.map(([key, form, help, rest = {}]) => ({ key, form, help, group: name, ...rest }));
}

export const SETTINGS: readonly Setting[] = [
  ...group('Policies:', [
    ['filename', list('file'), 'file or directory of manifests, watched (repeatable)', { short: 'f' }],
    ['recursive', SWITCH, 'read directories with all that is below them', { short: 'R', default: false }],
    ['kubernetes', SWITCH, 'take policies from the Kubernetes API instead, watched', { default: false }],
    ['kubeconfig', text('file'), 'with --kubernetes: this kubeconfig; default: the pod itself, or ~/.kube/config'],
    ['context', text('name'), 'with --kubernetes: this context of the kubeconfig'],
    ['strict', SWITCH, 'unknown fields are errors, not warnings', { default: false }],
    ['permissive', SWITCH, 'take objects that the API would refuse, as plain CRD writes would', { default: false }],
    ['as-is', SWITCH, 'invent no Namespace and no ServiceAccount that the input lacks', { default: false }],
    ['node', text('name'), 'judge as the dataplane of this node: only its endpoints are policed'],
    [
      'dataplane',
      choice('kind', ['iptables', 'nftables', 'bpf']),
      "Calico's dataplane, where they differ",
      { default: 'iptables' },
    ],
  ]),
  ...group('Identities:', [
    ['redis', text('url'), 'take the owners of addresses from Redis: redis[s]://[user@]host[:port][/db]'],
    ['cluster', text('name'), "with --redis: the cluster's name there", { default: 'default' }],
    ['verify-key', text('file'), 'with --redis: take only what is signed; PEM of an Ed25519 public key'],
    [
      'identity-stale-after',
      number('seconds', 1, 86_400),
      'with --redis: after so long without it verdicts are stale-identity',
      { default: 30 },
    ],
    [
      'identity-dead-after',
      number('seconds', 1, 86_400),
      'with --redis: after so long without it the agent is not ready',
      { default: 300 },
    ],
  ]),
  ...group('Capture:', [
    ['source', text('source'), 'cap, tcpdump, file:PATH, or - for standard input', { default: 'cap' }],
    ['interface', list('name'), 'interface to capture on, any for all (repeatable)', { short: 'i', default: ['any'] }],
    ['filter', text('bpf'), 'capture only what this BPF filter takes', { default: '' }],
    ['snap-bytes', number('bytes', 64, 65_535), 'look at so many bytes of each packet', { default: 256 }],
    ['ring-mib', number('MiB', 1, 1024), 'room for packets between their capture and their verdicts', { default: 16 }],
    [
      'capture-mib',
      number('MiB', 1, 1024),
      'kernel memory for the packets of an interface; cap takes 64 KiB a packet, tcpdump what it needs',
      { default: 64 },
    ],
    ['splits', number('number', 1, 16), 'capture processes that share the flows of an interface', { default: 1 }],
    [
      'capture-point',
      choice('where', ['unknown', 'veth', 'host']),
      "where packets are seen: on pods' veths, on the host, or unknown",
      { default: 'unknown' },
    ],
    [
      'deduplicate',
      choice('when', ['auto', 'yes', 'no']),
      'judge a packet that shows up several times once; auto: on the interface any',
      { default: 'auto' },
    ],
    ['flow-entries', number('number', 1024, 4_000_000), 'connections followed at one time', { default: 65_536 }],
    [
      'conntrack-entries',
      number('number', 1024, 4_000_000),
      'connections that verdicts remember',
      { default: 262_144 },
    ],
    ['findings-mib', number('MiB', 0, 256), 'raw packets kept around findings', { default: 4 }],
    [
      'run-as',
      text('user'),
      'started as root: go on as this user with the right to capture alone; root: stay',
      { default: 'nobody' },
    ],
    ['until-end', SWITCH, 'end when all sources have ended (files, standard input)', { default: false }],
  ]),
  ...group('Page and metrics:', [
    ['listen', text('address'), 'serve the page, metrics and API on HOST:PORT', { default: '127.0.0.1:9099' }],
    ['allow-remote', SWITCH, 'let --listen take an address that others can reach', { default: false }],
    [
      'allow-host',
      list('name'),
      'answer requests to this host name, beside addresses and localhost (repeatable)',
      { default: [] },
    ],
    ['token-file', text('file'), 'ask every reader for the token in this file'],
    ['tls-cert', text('file'), 'serve over TLS with this certificate (PEM)'],
    ['tls-key', text('file'), 'with --tls-cert: its key (PEM)'],
    ['flows-kept', number('number', 100, 100_000), 'connections that the page can show', { default: 10_000 }],
    [
      'metrics-by',
      choice('what', ['none', 'namespace', 'account']),
      'count connections by namespace or service account, too; at most 500 series',
      { default: 'none' },
    ],
  ]),
  ...group('Flow log:', [
    ['flow-log', text('file'), 'write flows to this file as JSON lines, - for standard output'],
    [
      'format',
      choice('format', ['native', 'goldmane', 'hubble']),
      'fields of the flow log: ours, or those of another system',
      { default: 'native' },
    ],
    ['flow-log-interval', number('seconds', 1, 3_600), 'a line for each flow every so often', { default: 15 }],
    ['flow-log-max-mib', number('MiB', 1, 100_000), 'start a new file at this size', { default: 100 }],
    ['flow-log-keep', number('number', 0, 1_000), 'older files kept beside the current one', { default: 5 }],
  ]),
  ...group('Log:', [
    [
      'log-level',
      choice('level', ['debug', 'info', 'warn', 'error']),
      'what is logged on standard error',
      { default: 'info' },
    ],
    [
      'log-format',
      choice('format', ['auto', 'json', 'pretty']),
      'auto: pretty on a terminal, JSON elsewhere',
      { default: 'auto' },
    ],
  ]),
];

/** `MARGAY_FLOW_LOG_KEEP` of `flow-log-keep`. */
export function environmentName(key: string): string {
  return `MARGAY_${key.toUpperCase().replaceAll('-', '_')}`;
}

/** `flowLogKeep` of `flow-log-keep`, as commander and `AgentConfig` have it. */
export function camelName(key: string): string {
  return key.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** As the help shows it: `-f, --filename <file>`. */
export function settingFlags({ key, short, form }: Setting): string {
  const long = form.type === 'switch' ? `--${key}` : `--${key} <${form.value}>`;
  return short === undefined ? long : `-${short}, ${long}`;
}
