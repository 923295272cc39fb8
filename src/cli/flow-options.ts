/** One flow from the command line: addresses or names of pods, protocol, ports. For `eval` and `explain`. */
import { type Command, Option } from 'commander';
import { formatPrefix, parseAddress } from '../base/ip.ts';
import type { Plan, PlanEndpoint } from '../compile/plan.ts';
import type { Flow } from '../model/flow.ts';
import { UsageError } from './exit.ts';
import { listed } from './inputs.ts';
import { wholeNumber } from './options.ts';

export interface FlowOptions {
  readonly src?: string;
  readonly dst?: string;
  readonly protocol?: string;
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
}

export function addFlowOptions(command: Command): Command {
  const port = wholeNumber(0, 65535);
  const octet = wholeNumber(0, 255);
  const option = (flags: string, description: string): Option => new Option(flags, description).helpGroup('Flow:');
  return command
    .addOption(option('--src <end>', 'sender: an address, NAMESPACE/POD, or hep:NAME'))
    .addOption(option('--dst <end>', 'receiver, in the same forms'))
    .addOption(option('--proto, --protocol <name>', 'tcp (default), udp, icmp, icmpv6, sctp, udplite or a number'))
    .addOption(option('--src-port <port>', 'source port (default: 49152)').argParser(port))
    .addOption(
      option('--port, --dst-port <port>', 'destination port, needed where the protocol has ports').argParser(port),
    )
    .addOption(option('--icmp-type <number>', 'ICMP type (default: echo request)').argParser(octet))
    .addOption(option('--icmp-code <number>', 'ICMP code (default: 0)').argParser(octet));
}

/** The flow of the options. Throws UsageError for ends that are missing, unknown or of two IP versions. */
export function flowOf(options: FlowOptions, plan: Plan): Flow {
  if (options.src === undefined) throw new UsageError('--src is missing: give the sender, an address or NAMESPACE/POD');
  if (options.dst === undefined)
    throw new UsageError('--dst is missing: give the receiver, an address or NAMESPACE/POD');
  const src = addressesOf('--src', options.src, plan);
  const dst = addressesOf('--dst', options.dst, plan);
  const pair = matchVersions(src, dst);
  if (pair === undefined) {
    throw new UsageError(
      `--src ${options.src} and --dst ${options.dst} have no IP version in common; choose other ends`,
    );
  }
  return {
    src: pair[0],
    dst: pair[1],
    ...(options.protocol === undefined ? {} : { protocol: protocolFor(options.protocol, pair[0]) }),
    ...(options.srcPort === undefined ? {} : { src_port: options.srcPort }),
    ...(options.dstPort === undefined ? {} : { dst_port: options.dstPort }),
    ...(options.icmpType === undefined ? {} : { icmp_type: options.icmpType }),
    ...(options.icmpCode === undefined ? {} : { icmp_code: options.icmpCode }),
  };
}

/** Between IPv6 ends `icmp` can only mean ICMPv6. */
function protocolFor(protocol: string, src: string): string {
  return protocol.toLowerCase() === 'icmp' && src.includes(':') ? 'icmpv6' : protocol;
}

/** The first source and destination of one version, IPv4 first. */
function matchVersions(src: readonly string[], dst: readonly string[]): readonly [string, string] | undefined {
  for (const isVersion of [(text: string) => !text.includes(':'), (text: string) => text.includes(':')]) {
    const from = src.find(isVersion);
    const to = dst.find(isVersion);
    if (from !== undefined && to !== undefined) return [from, to];
  }
  return undefined;
}

function addressesOf(option: string, text: string, plan: Plan): readonly string[] {
  if (parseAddress(text) !== undefined) return [text];
  const wanted = text.includes(':') ? text : `wep:${text}`;
  const endpoint = plan.endpoints.find(({ key }) => key === wanted);
  if (endpoint === undefined) throw unknownEnd(option, text, plan);
  const addresses = endpoint.addresses.map((prefix) => formatPrefix(prefix).replace(/\/(32|128)$/, ''));
  if (addresses.length === 0) throw new UsageError(`${option}: ${endpoint.key} has no address; give one instead`);
  return addresses;
}

function unknownEnd(option: string, text: string, plan: Plan): UsageError {
  const name = text.slice(text.lastIndexOf('/') + 1).replace(/^hep:|^wep:/, '');
  const shown = ({ key, kind }: PlanEndpoint): string => (kind === 'wep' ? key.slice('wep:'.length) : key);
  const alike = plan.endpoints.filter((endpoint) => endpoint.name === name).map(shown);
  if (alike.length > 0)
    return new UsageError(`${option}: there is no pod '${text}'; did you mean ${alike.join(' or ')}?`);
  const known = plan.endpoints.map(shown);
  const remedy = known.length === 0 ? 'the input has no pods with addresses' : `there are ${listed(known)}`;
  return new UsageError(`${option}: '${text}' is no IP address and no pod of the input; ${remedy}`);
}
